//! A token as its holder has it: `ast_`, 12 characters of id, `_`, 43 of secret, 6 of checksum,
//! all of `0-9A-Za-z`.
//!
//! The id finds the token and may be shown. The secret has 256 random bits (43 · log2 62). The
//! checksum is the CRC-32C of all that comes before it, so that a typo is told from a token that
//! was revoked, without a look-up, and a scanner for leaked tokens knows one from chance.

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::env::Random;

const PREFIX: &str = "ast_";
const ID: usize = 12;
const SECRET: usize = 43;
const CHECKSUM: usize = 6;
const LENGTH: usize = PREFIX.len() + ID + 1 + SECRET + CHECKSUM;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{}", self.reason())]
pub enum TokenTextError {
    /// It does not look like one.
    Form,
    /// It does, but a character is wrong.
    Checksum,
}

impl TokenTextError {
    /// What is wrong, for a person.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Form => "it does not have the form of an API token",
            Self::Checksum => "its checksum is wrong, as after a typo",
        }
    }
}

/// A token's text, checked for form. Neither shows nor compares itself.
pub struct TokenText(zeroize::Zeroizing<String>);

impl TokenText {
    /// A new token.
    #[must_use]
    pub fn made(random: &dyn Random) -> Self {
        let mut text = zeroize::Zeroizing::new(String::with_capacity(LENGTH));
        text.push_str(PREFIX);
        push_random(random, ID, &mut text);
        text.push('_');
        push_random(random, SECRET, &mut text);
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Self(text)
    }

    /// Reads a token's text.
    ///
    /// # Errors
    /// [`TokenTextError`].
    pub fn parse(text: &str) -> Result<Self, TokenTextError> {
        let form = text.len() == LENGTH && text.starts_with(PREFIX);
        let rest = text.get(PREFIX.len()..).filter(|_| form).ok_or(TokenTextError::Form)?;
        let alphabet = |(at, byte): (usize, u8)| {
            if at == ID { byte == b'_' } else { byte.is_ascii_alphanumeric() }
        };
        if !rest.bytes().enumerate().all(alphabet) {
            return Err(TokenTextError::Form);
        }
        let (body, sum) = text.split_at_checked(LENGTH - CHECKSUM).ok_or(TokenTextError::Form)?;
        if checksum(body) != sum {
            return Err(TokenTextError::Checksum);
        }
        Ok(Self(zeroize::Zeroizing::new(text.to_owned())))
    }

    /// The part that is no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.get(PREFIX.len()..PREFIX.len() + ID).unwrap_or_default()
    }

    /// What the server keeps: the SHA-256 of the whole text. The secret is random, so neither
    /// salt nor a slow hash would add anything.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The text itself, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Appends characters, each of the 62 as likely as the others.
fn push_random(random: &dyn Random, count: usize, out: &mut String) {
    let mut pushed = 0;
    while pushed < count {
        let mut bytes = zeroize::Zeroizing::new([0_u8; 32]);
        random.fill(bytes.as_mut());
        for byte in bytes.iter() {
            // 62 of 64 values are taken, the others drawn again.
            if let Some(digit) = ALPHABET.get(usize::from(byte & 63))
                && pushed < count
            {
                out.push(char::from(*digit));
                pushed += 1;
            }
        }
    }
}

fn checksum(body: &str) -> String {
    let mut rest = crc32c::crc32c(body.as_bytes());
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET.get((rest % 62) as usize).copied().unwrap_or(b'0');
        rest /= 62;
    }
    digits.map(char::from).iter().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::env::OsRandom;

    /// Bytes 0, 1, 2, …
    struct Counting;

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for (value, byte) in (0..).zip(bytes) {
                *byte = value;
            }
        }
    }

    #[test]
    fn the_form_is_as_written_down() {
        let token = TokenText::made(&Counting);
        let expected = "ast_0123456789AB_0123456789ABCDEFGHIJKLMNOPQRSTUV0123456789A";
        assert_eq!(token.reveal().get(..LENGTH - CHECKSUM), Some(expected));
        assert_eq!(token.id(), "0123456789AB");
        assert_eq!(token.reveal().len(), 66);
        let sum = u64::from(crc32c::crc32c(expected.as_bytes()));
        let digit =
            |c: char| ALPHABET.iter().position(|a| char::from(*a) == c).expect("digit") as u64;
        let said = token.reveal()[60..].chars().fold(0, |n, c| n * 62 + digit(c));
        assert_eq!(said, sum);
    }

    #[test]
    fn tokens_are_read_back_and_differ() {
        let mut seen = HashSet::new();
        for _ in 0..100 {
            let token = TokenText::made(&OsRandom);
            let Ok(read) = TokenText::parse(token.reveal()) else { panic!("no token") };
            assert_eq!((read.id(), read.hash()), (token.id(), token.hash()));
            assert!(seen.insert(token.id().to_owned()) && seen.insert(token.reveal().to_owned()));
        }
    }

    #[test]
    fn every_typo_is_told() {
        let token = TokenText::made(&OsRandom);
        let text = token.reveal();
        for at in PREFIX.len()..LENGTH {
            let mut typo: Vec<char> = text.chars().collect();
            typo[at] = if typo[at] == 'x' { 'y' } else { 'x' };
            let typo: String = typo.into_iter().collect();
            assert!(TokenText::parse(&typo).is_err(), "{at}");
        }
        for bad in [&text[1..], &text[..65], &format!("{text}0"), "", "ast_", &"x".repeat(66)] {
            assert!(matches!(TokenText::parse(bad), Err(TokenTextError::Form)), "{bad}");
        }
        let swapped: String = text[..20].chars().chain(text[20..].chars().rev()).collect();
        assert!(matches!(TokenText::parse(&swapped), Err(TokenTextError::Checksum)));
    }

    #[test]
    fn characters_are_even() {
        let mut text = String::new();
        push_random(&OsRandom, 62_000, &mut text);
        for digit in ALPHABET {
            let count = text.bytes().filter(|b| b == digit).count();
            assert!((800..1200).contains(&count), "{}: {count}", char::from(*digit));
        }
    }
}
