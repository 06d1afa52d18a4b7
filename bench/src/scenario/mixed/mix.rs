//! What users do, and how often each of it.

use std::str::FromStr;

/// One thing that a user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message to the contact.
    Chat,
    /// The same, kept in the history.
    Saved,
    /// A message to the room.
    Room,
    /// A new status.
    Presence,
    /// The roster is asked for.
    Roster,
    /// The newest page of the archive is asked for.
    Archive,
    /// The list of dialogs, through the API.
    Dialogs,
    /// The newest page of the dialog with the contact, through the API.
    Messages,
}

/// How many kinds there are.
pub const KINDS: usize = 8;

impl Kind {
    /// In the order of their numbers.
    pub const ALL: [Kind; KINDS] = [
        Kind::Chat,
        Kind::Saved,
        Kind::Room,
        Kind::Presence,
        Kind::Roster,
        Kind::Archive,
        Kind::Dialogs,
        Kind::Messages,
    ];

    /// As in `--mix`, and the name of its phase.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Chat => "chat",
            Kind::Saved => "saved",
            Kind::Room => "room",
            Kind::Presence => "presence",
            Kind::Roster => "roster",
            Kind::Archive => "archive",
            Kind::Dialogs => "dialogs",
            Kind::Messages => "messages",
        }
    }

    /// What its latencies are counted of, in the singular.
    pub fn operation(self) -> &'static str {
        match self {
            Kind::Chat | Kind::Saved => "message",
            Kind::Room => "delivery",
            Kind::Presence => "change",
            Kind::Roster => "roster",
            Kind::Archive | Kind::Messages => "page",
            Kind::Dialogs => "list",
        }
    }
}

/// The ratio, as `chat=50,saved=20`: kinds that are left out do not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    weights: [u32; KINDS],
    /// What each kind is owed.
    credits: [i64; KINDS],
}

impl Mix {
    /// The next thing to do. Kinds alternate as evenly as their weights allow, the same way in every run.
    pub fn next(&mut self) -> Kind {
        let mut best = 0;
        for kind in 0..KINDS {
            self.credits[kind] += i64::from(self.weights[kind]);
            if self.credits[kind] > self.credits[best] {
                best = kind;
            }
        }
        self.credits[best] -= self.weights.iter().copied().map(i64::from).sum::<i64>();
        Kind::ALL[best]
    }
}

impl std::fmt::Display for Mix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = Kind::ALL.iter().zip(self.weights).filter(|(_, weight)| *weight > 0);
        let parts: Vec<String> = parts.map(|(kind, weight)| format!("{}={weight}", kind.name())).collect();
        f.write_str(&parts.join(","))
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WEIGHT_MAX: u32 = 1_000_000;
        let mut weights = [0; KINDS];
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').ok_or_else(|| format!("{part} is not KIND=NUMBER"))?;
            let kind = Kind::ALL.iter().position(|kind| kind.name() == name).ok_or_else(|| {
                let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
                format!("there is no {name}; there are {}", names.join(", "))
            })?;
            let weight = weight.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
            weights[kind] = weight.ok_or_else(|| format!("{part}: the number is from 0 to {WEIGHT_MAX}"))?;
        }
        if weights.iter().all(|weight| *weight == 0) {
            return Err("nothing would happen".into());
        }
        Ok(Self { weights, credits: [0; KINDS] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_to_the_ratio_and_spreads_it_evenly() {
        let mut mix: Mix = "chat=6,room=3,messages=1".parse().unwrap();
        let day: Vec<Kind> = (0..1_000).map(|_| mix.next()).collect();
        for ten in day.chunks(10) {
            let count = |kind| ten.iter().filter(|found| **found == kind).count();
            assert_eq!((count(Kind::Chat), count(Kind::Room), count(Kind::Messages)), (6, 3, 1));
        }
        assert_eq!(mix.to_string(), "chat=6,room=3,messages=1");
    }

    #[test]
    fn says_what_is_wrong_with_a_ratio() {
        for (bad, word) in
            [("chat", "KIND=NUMBER"), ("talk=1", "chat, saved"), ("chat=-1", "from 0"), ("chat=0", "nothing")]
        {
            let error = bad.parse::<Mix>().unwrap_err();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }
}
