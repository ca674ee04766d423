//! The words that records are made of. Order and number matter: a change here changes every
//! generated record, and with them the committed sample and the hash in the tests.

/// A variable: code, description, type, category.
pub(super) type Variable = (&'static str, &'static str, &'static str, &'static str);

/// What an audience is interested in.
#[derive(Clone, Copy, Default)]
pub(super) struct Theme {
    /// In names: "Trail Running".
    pub(super) label: &'static str,
    /// In sentences: "interested in …".
    pub(super) interest: &'static str,
    /// What is advertised; four a theme.
    pub(super) products: [&'static str; 4],
    /// What parts of the audience are called.
    pub(super) segments: [&'static str; 5],
    /// What tells them.
    pub(super) variables: [Variable; 4],
}

/// Who they are.
#[derive(Clone, Copy, Default)]
pub(super) struct People {
    /// In names: "Millennial Women".
    pub(super) label: &'static str,
    /// In sentences: "women aged 25-40".
    pub(super) phrase: &'static str,
    /// Their ages, as segments tell them.
    pub(super) ages: [&'static str; 2],
    /// What tells them.
    pub(super) variables: [Variable; 2],
}

const B: &str = "behavioral";
const D: &str = "demographic";
const P: &str = "psychographic";
const T: &str = "transactional";

macro_rules! themes {
    ($($label:literal, $interest:literal, $products:expr, $segments:expr,
        $(($code:literal, $text:literal, $kind:ident, $category:literal)),*;)*) => {
        &[$(Theme {
            label: $label,
            interest: $interest,
            products: $products,
            segments: $segments,
            variables: [$(($code, $text, $kind, $category)),*],
        }),*]
    };
}

pub(super) static THEMES: &[Theme] = themes! {
    "Gaming", "video games and streaming",
        ["Console Launch", "Game Pass Trial", "Headset Bundle", "Esports Finals"],
        ["Console Gamers", "Mobile Gamers", "Stream Watchers", "PC Builders", "Casual Players"],
        ("GAMING_INT", "Interest in gaming", B, "Behavioral"),
        ("CONSOLE_OWN", "Owns a game console", B, "Ownership"),
        ("STREAMING", "Streams video weekly", B, "Media"),
        ("ESPORTS_VIEW", "Watches esports", B, "Media");
    "Trail Running", "trail running and hiking",
        ["Trail Shoe Release", "Rain Shell", "Hydration Vest", "Summit Series"],
        ["Weekend Hikers", "Ultra Runners", "Gear Collectors", "Park Visitors", "New Runners"],
        ("OUTDOOR_INT", "Interest in the outdoors", P, "Lifestyle"),
        ("RUN_FREQ_HI", "Runs three times a week or more", B, "Fitness"),
        ("PARK_PASS", "Holds a park pass", T, "Purchases"),
        ("SPORT_SPEND", "Spends on sporting goods", T, "Purchases");
    "City Travel", "weekend trips and city breaks",
        ["Autumn City Breaks", "Rail Pass", "Boutique Hotels", "Last Minute Flights"],
        ["Long-Weekenders", "Culture Seekers", "Business Plus Leisure", "Deal Hunters", "Foodie Travelers"],
        ("TRAVEL_INT", "Interest in travel", P, "Lifestyle"),
        ("AIR_TRIPS_4", "Four or more flights a year", B, "Travel"),
        ("HOTEL_LOYAL", "Member of a hotel program", T, "Loyalty"),
        ("TRAVEL_APP", "Uses a travel booking app", B, "Digital");
    "New Parents", "baby care and family life",
        ["Stroller Range", "Organic Baby Food", "Nursery Set", "Diaper Subscription"],
        ["First-Time Parents", "Growing Families", "Planning Ahead", "Gift Givers", "Eco Parents"],
        ("KIDS_0_2", "Child aged 0 to 2 in the household", D, "Household"),
        ("BABY_SPEND", "Buys baby products", T, "Purchases"),
        ("PARENT_FORUM", "Reads parenting forums", B, "Digital"),
        ("FAMILY_SUV", "Considers a family car", B, "Automotive");
    "Fitness", "gym training and healthy eating",
        ["January Membership", "Protein Range", "Smart Scale", "Yoga Studio Pass"],
        ["Gym Regulars", "Home Trainers", "Yoga Circle", "Macro Counters", "Restarters"],
        ("FITNESS_INT", "Interest in fitness", P, "Lifestyle"),
        ("GYM_MEMBER", "Member of a gym", T, "Loyalty"),
        ("WEARABLE_OWN", "Owns a fitness wearable", B, "Ownership"),
        ("SUPPL_SPEND", "Buys supplements", T, "Purchases");
    "Electric Cars", "electric and hybrid cars",
        ["EV Test Drive", "Home Charger", "Lease Offer", "Hybrid Launch"],
        ["EV Intenders", "Early Adopters", "Commuters", "Second-Car Families", "Lease Enders"],
        ("AUTO_INTENT", "In market for a car", B, "Automotive"),
        ("EV_INT", "Interest in electric vehicles", P, "Automotive"),
        ("LEASE_END_6M", "Lease ends within six months", T, "Automotive"),
        ("SOLAR_HOME", "Home with solar panels", D, "Household");
    "Home Renovation", "renovating and decorating their homes",
        ["Kitchen Makeover", "Paint Weeks", "Garden Furniture", "Tool Days"],
        ["Kitchen Planners", "Weekend Builders", "New Owners", "Garden Shapers", "Decor Scrollers"],
        ("HOMEOWNER", "Owns the home", D, "Household"),
        ("DIY_INT", "Interest in home improvement", P, "Lifestyle"),
        ("MOVED_12M", "Moved within twelve months", D, "Life events"),
        ("DIY_SPEND", "Spends at home improvement stores", T, "Purchases");
    "Pet Care", "their dogs and cats",
        ["Fresh Dog Food", "Pet Insurance", "Grooming Kit", "Puppy Starter Box"],
        ["Dog Devotees", "Cat Companions", "Puppy Year One", "Premium Feeders", "Rescue Friends"],
        ("DOG_OWNER", "Has a dog", D, "Household"),
        ("CAT_OWNER", "Has a cat", D, "Household"),
        ("PET_SPEND", "Spends on pet food", T, "Purchases"),
        ("VET_VISIT", "Visited a vet within a year", B, "Health");
    "Home Cooking", "cooking and good food",
        ["Meal Kit Trial", "Knife Set", "Olive Oil Club", "Holiday Baking"],
        ["Weeknight Cooks", "Sunday Bakers", "Grill Masters", "Plant-Based Eaters", "Recipe Savers"],
        ("COOKING_INT", "Interest in cooking", P, "Lifestyle"),
        ("MEALKIT_TRY", "Tried a meal kit", T, "Purchases"),
        ("ORGANIC_SPEND", "Buys organic groceries", T, "Purchases"),
        ("RECIPE_APP", "Uses a recipe app", B, "Digital");
    "Street Fashion", "fashion and sneakers",
        ["Sneaker Drop", "Denim Edit", "Capsule Collection", "Outlet Week"],
        ["Sneakerheads", "Trend Setters", "Vintage Finders", "Outlet Shoppers", "Quiet Classics"],
        ("FASHION_INT", "Interest in fashion", P, "Lifestyle"),
        ("APPAREL_ONL", "Buys clothes online", T, "Purchases"),
        ("SNEAKER_SPEND", "Spends on sneakers", T, "Purchases"),
        ("SOCIAL_HEAVY", "Heavy user of social networks", B, "Media");
    "Personal Investing", "investing and saving",
        ["Brokerage Account", "Retirement Check", "Savings Rate", "Index Fund Week"],
        ["First Investors", "Nest Builders", "Active Traders", "Rate Watchers", "Near Retirees"],
        ("INVEST_INT", "Interest in investing", P, "Finance"),
        ("BROKER_ACCT", "Has a brokerage account", T, "Finance"),
        ("RETIRE_10Y", "Retires within ten years", D, "Life events"),
        ("FIN_NEWS", "Reads financial news", B, "Media");
    "Smart Home", "connected devices at home",
        ["Doorbell Camera", "Thermostat Upgrade", "Speaker Pair", "Mesh Router"],
        ["Gadget Fans", "Safety Minded", "Energy Savers", "Voice Users", "Renters Plus"],
        ("SMARTHOME_INT", "Interest in connected devices", P, "Technology"),
        ("VOICE_SPKR", "Owns a smart speaker", B, "Ownership"),
        ("FIBER_HOME", "Home with a fiber line", D, "Household"),
        ("TECH_SPEND", "Spends on electronics", T, "Purchases");
    "Live Music", "concerts and festivals",
        ["Festival Tickets", "Vinyl Reissues", "Arena Tour", "Headphone Launch"],
        ["Festival Goers", "Vinyl Collectors", "Arena Fans", "Playlist Makers", "Local Scene"],
        ("MUSIC_INT", "Interest in live music", P, "Entertainment"),
        ("TICKETS_3", "Three or more concerts a year", T, "Purchases"),
        ("AUDIO_STREAM", "Pays for audio streaming", T, "Media"),
        ("VINYL_SPEND", "Buys records", T, "Purchases");
    "Green Living", "sustainable products",
        ["Refill Range", "Bike Leasing", "Green Power Tariff", "Repair Weeks"],
        ["Zero Wasters", "Bike Commuters", "Label Readers", "Power Switchers", "Second-Hand First"],
        ("ECO_INT", "Interest in sustainability", P, "Lifestyle"),
        ("BIKE_COMMUTE", "Commutes by bicycle", B, "Mobility"),
        ("GREEN_POWER", "Has a green power contract", T, "Household"),
        ("REUSE_SPEND", "Buys second-hand", T, "Purchases");
};

const WOMEN: Variable = ("GENDER_F", "Female", D, "Demographics");
const MEN: Variable = ("GENDER_M", "Male", D, "Demographics");
const URBAN: Variable = ("URBANICITY_HI", "Lives in a dense urban area", D, "Geography");
const INCOME: Variable = ("HH_INC_100K", "Household income above $100,000", D, "Income");
const AGE_18: Variable = ("AGE_18_24", "Age 18 to 24", D, "Demographics");
const AGE_25: Variable = ("AGE_25_40", "Age 25 to 40", D, "Demographics");
const AGE_41: Variable = ("AGE_41_56", "Age 41 to 56", D, "Demographics");
const AGE_57: Variable = ("AGE_57_75", "Age 57 to 75", D, "Demographics");

macro_rules! people {
    ($($label:literal, $phrase:literal, $ages:expr, $variables:expr;)*) => {
        &[$(People { label: $label, phrase: $phrase, ages: $ages, variables: $variables }),*]
    };
}

pub(super) static PEOPLE: &[People] = people! {
    "Gen Z Males", "males aged 18-24", ["18-21", "20-24"], [AGE_18, MEN];
    "Gen Z Women", "women aged 18-24", ["18-22", "21-24"], [AGE_18, WOMEN];
    "Millennial Women", "women aged 25-40", ["25-32", "33-40"], [AGE_25, WOMEN];
    "Millennial Men", "men aged 25-40", ["25-33", "32-40"], [AGE_25, MEN];
    "Urban Millennials", "city dwellers aged 25-40", ["25-34", "30-40"], [AGE_25, URBAN];
    "Gen X Households", "households aged 41-56", ["41-48", "47-56"], [AGE_41, INCOME];
    "Established Men", "men aged 41-56", ["41-50", "45-56"], [AGE_41, MEN];
    "Active Boomers", "people aged 57-75 with a good income", ["57-65", "62-75"], [AGE_57, INCOME];
};

pub(super) static BRANDS: &[&str] = &[
    "Northpeak",
    "Halden & Co",
    "Bluewater",
    "Lumen",
    "Orchard Lane",
    "Vantage",
    "Kestrel",
    "Brightside",
    "Fjordline",
    "Maple & Main",
    "Solano",
    "Tidewater",
    "Copperfield",
    "Everline",
    "Juniper",
    "Meridian",
    "Redwood",
    "Stonebridge",
    "Wildrose",
    "Zephyr",
];

pub(super) static CITIES: &[&str] = &[
    "Atlanta",
    "Austin",
    "Boston",
    "Charlotte",
    "Chicago",
    "Columbus",
    "Dallas",
    "Denver",
    "Detroit",
    "Houston",
    "Kansas City",
    "Los Angeles",
    "Miami",
    "Minneapolis",
    "Nashville",
    "New York",
    "Philadelphia",
    "Phoenix",
    "Portland",
    "Salt Lake City",
    "San Diego",
    "San Francisco",
    "Seattle",
    "Washington",
];

pub(super) static PRIZM: &[&str] = &[
    "Young Digerati",
    "Bohemian Mix",
    "Urban Sparks",
    "Harbor Lights",
    "Garden Gate Families",
    "Second-City Strivers",
    "Porch & Pines",
    "Loft Dwellers",
    "Country Club Classics",
    "Main Street Makers",
    "Campus Commons",
    "Golden Years Travelers",
    "Backyard Grillers",
    "Metro Movers",
    "Cul-de-Sac Comforts",
    "Blue Ridge Roots",
];

pub(super) static INCOMES: &[&str] =
    &["$38,000", "$45,000", "$52,000", "$61,000", "$74,000", "$88,000", "$105,000", "$132,000"];

pub(super) static INSIGHTS: &[&str] = &[
    "Digital-native generation",
    "Most active on weekday evenings",
    "Above-average basket size",
    "Responds to limited offers",
    "Strong reach on connected TV",
    "High overlap with loyalty members",
    "Prefers video over display",
    "Researches for two weeks before buying",
];

/// A platform: type, name, and the thousandths between which its match rates lie.
pub(super) type PlatformKind = (&'static str, &'static str, u64, u64);

pub(super) static PLATFORMS: &[PlatformKind] = &[
    ("the_trade_desk", "The Trade Desk", 620, 780),
    ("meta", "Meta", 700, 890),
    ("google_ads", "Google Ads", 560, 740),
    ("amazon_dsp", "Amazon DSP", 500, 690),
];

pub(super) static MARKETS: &[&str] =
    &["US", "US East", "US West", "Canada", "UK", "DACH", "Nordics", "LATAM", "APAC", "Test"];

/// Why a distribution failed: code, message.
pub(super) static FAILURES: &[(&str, &str)] = &[
    ("AUTH_EXPIRED", "The platform's access token has expired"),
    ("RATE_LIMITED", "The platform refused the upload: too many requests"),
    ("AUDIENCE_TOO_SMALL", "Fewer matched records than the platform's minimum of 1,000"),
    ("UPLOAD_TIMEOUT", "The platform did not confirm the upload in time"),
];

/// First names, family names and companies of e-mail-like user ids.
pub(super) static FIRST_NAMES: &[&str] = &[
    "maria", "james", "aisha", "lukas", "chen", "sofia", "david", "priya", "emma", "omar", "yuki",
    "nina", "carlos", "hannah", "ivan", "grace",
];

/// See [`FIRST_NAMES`].
pub(super) static FAMILY_NAMES: &[&str] = &[
    "keller",
    "nguyen",
    "okafor",
    "rossi",
    "smith",
    "tanaka",
    "garcia",
    "lindqvist",
    "patel",
    "dubois",
    "cohen",
    "novak",
    "murphy",
    "silva",
    "haddad",
    "berg",
];

/// See [`FIRST_NAMES`]. The top-level domain is reserved (RFC 2606): nobody gets mail.
pub(super) static COMPANIES: &[&str] = &[
    "northpeak.example",
    "brightside-media.example",
    "kestrel-agency.example",
    "orchardlane.example",
    "tidewater-group.example",
    "meridian-ads.example",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_have_one_meaning() {
        let variables = THEMES
            .iter()
            .flat_map(|t| t.variables)
            .chain(PEOPLE.iter().flat_map(|p| p.variables))
            .collect::<BTreeSet<_>>();
        let codes: BTreeSet<_> = variables.iter().map(|v| v.0).collect();
        assert_eq!(codes.len(), variables.len());
    }

    #[test]
    fn products_are_unique() {
        let products: BTreeSet<_> = THEMES.iter().flat_map(|t| t.products).collect();
        assert_eq!(products.len(), THEMES.len() * 4);
    }
}
