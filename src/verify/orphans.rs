//! Credentials in the log whose key is gone. After `keys retire` the log may still hold records
//! sealed with the retired key: no damage where nothing reads them any more.
//!
//! Memory: one finding a record whose newest change in the log is sealed with a key that is gone.

use std::collections::{BTreeMap, HashMap};

use super::report::{Code, Finding, Report};
use crate::domain::{PartitionKey, RecordId, UserId};
use crate::log::Lsn;

/// What was found in the log so far.
#[derive(Default)]
pub(super) struct Orphans {
    /// By partition and record, the newest change: what a start may have to read.
    newest: HashMap<PartitionKey, HashMap<RecordId, Finding>>,
    /// How many nothing reads any more, by segment.
    idle: BTreeMap<String, u64>,
}

impl Orphans {
    /// Notes a change whose key is gone; it is newer than all before it.
    pub(super) fn found(&mut self, key: &PartitionKey, id: &RecordId, finding: Finding) {
        self.newest.entry(key.clone()).or_default().insert(id.clone(), finding);
    }

    /// A newer change of a record: what was found of it before is not read any more.
    pub(super) fn replaced(&mut self, key: &PartitionKey, id: &RecordId) {
        let before = self.newest.get_mut(key).and_then(|records| records.remove(id));
        self.rest(before);
    }

    /// A user is erased: nothing that was said of his records before is read any more.
    pub(super) fn erased(&mut self, user: &UserId) {
        let gone: Vec<_> = self.newest.extract_if(|key, _| key.user() == user).collect();
        self.rest(gone.into_iter().flat_map(|(_, records)| records.into_values()));
    }

    /// A partition's file holds all changes through this one: older ones are not read any more.
    pub(super) fn held(&mut self, key: &PartitionKey, through: Lsn) {
        let Some(records) = self.newest.get_mut(key) else { return };
        let is_old = |finding: &Finding| finding.lsn.is_some_and(|lsn| Lsn::new(lsn) <= through);
        let old: Vec<_> = records.extract_if(|_, finding| is_old(finding)).collect();
        self.rest(old.into_iter().map(|(_, finding)| finding));
    }

    fn rest(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            *self.idle.entry(finding.file).or_default() += 1;
        }
    }

    /// Reports what is left, once all files were looked at.
    pub(super) fn settle(self, report: &mut Report) {
        let mut left: Vec<_> = self.newest.into_values().flat_map(HashMap::into_values).collect();
        left.sort_by_key(|finding| finding.lsn);
        for finding in left {
            report.add(finding);
        }
        for (file, count) in self.idle {
            let what =
                format!("{count} changes sealed with retired keys; files hold what followed");
            report.note(Code::SealedKeyRetired, &file, &what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Table;

    fn key(user: &str) -> PartitionKey {
        PartitionKey::whole(&UserId::checked(user).expect("user"), Table::Platforms)
    }

    fn id(name: &str) -> RecordId {
        RecordId::checked(name).expect("id")
    }

    fn found(orphans: &mut Orphans, user: &str, name: &str, lsn: u64) {
        orphans.replaced(&key(user), &id(name));
        let finding = Finding {
            code: Code::SealedKeyUnknown,
            file: "log/1.log".to_owned(),
            what: name.to_owned(),
            offset: None,
            lsn: Some(lsn),
        };
        orphans.found(&key(user), &id(name), finding);
    }

    /// LSNs of damages, and how many changes are idle.
    fn settled(orphans: Orphans) -> (Vec<u64>, Vec<String>) {
        let mut report = Report::default();
        orphans.settle(&mut report);
        let (damages, notes): (Vec<_>, Vec<_>) =
            report.findings.into_iter().partition(|f| f.code == Code::SealedKeyUnknown);
        (
            damages.iter().filter_map(|f| f.lsn).collect(),
            notes.into_iter().map(|f| f.what).collect(),
        )
    }

    #[test]
    fn what_a_start_would_read_is_damage_and_nothing_else() {
        let mut orphans = Orphans::default();
        for (user, name, lsn) in [("a", "x", 1), ("a", "y", 2), ("b", "x", 3), ("a", "x", 4)] {
            found(&mut orphans, user, name, lsn);
        }
        orphans.held(&key("a"), Lsn::new(3));
        orphans.held(&key("c"), Lsn::new(9));
        let (damages, notes) = settled(orphans);
        assert_eq!(damages, [3, 4], "LSN 1 was replaced, 2 is in the file, 3 is another user's");
        assert!(matches!(&notes[..], [note] if note.starts_with("2 changes ")), "{notes:?}");
    }

    #[test]
    fn an_erased_user_and_a_replaced_record_need_no_key() {
        let mut orphans = Orphans::default();
        found(&mut orphans, "a", "x", 1);
        found(&mut orphans, "b", "x", 2);
        found(&mut orphans, "b", "y", 3);
        orphans.erased(&UserId::checked("a").expect("user"));
        orphans.replaced(&key("b"), &id("x"));
        orphans.replaced(&key("a"), &id("x"));
        let (damages, notes) = settled(orphans);
        assert_eq!(damages, [3]);
        assert!(matches!(&notes[..], [note] if note.starts_with("2 changes ")), "{notes:?}");
        assert_eq!(settled(Orphans::default()), (Vec::new(), Vec::new()));
    }
}
