//! Calls on several dialogs or messages at once: ids in the path, three lists in the answer. Product page, "Delete dialog".

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::flow::{Flow, done};
use crate::http::{Response, Status};
use crate::problem::Problem;

/// Ids that one call can name.
pub(super) const IDS_MAX: usize = 1_000;

/// The ids of a path.
pub(super) struct Named<T> {
    /// Those that are ids, each once.
    pub ids: Vec<T>,
    /// A single one was written, without a comma: what becomes of it is the answer's status.
    pub single: bool,
    /// What is no id is nothing that can be found.
    pub missing: Vec<String>,
}

impl<T: Copy + Eq> Named<T> {
    /// The ids in a path, or in a list of words.
    pub fn read(text: &str, parse: impl Fn(&[u8]) -> Option<T>) -> Result<Named<T>, Problem> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let mut named = Named { ids: Vec::new(), single: !text.contains(','), missing: Vec::new() };
        for word in words {
            if named.ids.len() + named.missing.len() == IDS_MAX {
                return Err(Problem::unprocessable(format!("There are too many ids (maximum is {IDS_MAX})")));
            }
            match parse(word.as_bytes()) {
                Some(id) if named.ids.contains(&id) => {}
                Some(id) => named.ids.push(id),
                None => named.missing.push(word.to_owned()),
            }
        }
        Ok(named)
    }
}

/// What became of each id.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// It is as asked.
    pub done: Vec<String>,
    /// Not for this user.
    pub denied: Vec<String>,
    /// There is no such thing.
    pub missing: Vec<String>,
}

impl Outcome {
    /// The answer: of a single id by its status alone, of several the three lists, empty ones too.
    pub fn answer(self, single: bool, success: &'static str) -> Flow {
        match self {
            Outcome { denied, .. } if single && !denied.is_empty() => Err(Problem::forbidden().into()),
            Outcome { missing, .. } if single && !missing.is_empty() => Err(Problem::not_found().into()),
            _ if single => done(Response::empty(Status::Ok)),
            outcome => done(Response::json(Status::Ok, &Lists { success, outcome })),
        }
    }
}

struct Lists {
    success: &'static str,
    outcome: Outcome,
}

impl Serialize for Lists {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Outcome { done, denied, missing } = &self.outcome;
        let mut map = to.serialize_map(Some(3))?;
        for (name, ids) in [(self.success, done), ("WrongPermissions", denied), ("NotFound", missing)] {
            map.serialize_entry(name, &Ids { ids })?;
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
struct Ids<'a> {
    ids: &'a [String],
}

#[cfg(test)]
mod tests {
    use proto::jid::user::MessageId;

    use super::*;

    const ID: &str = "53aaa06f535c12cea9007496";

    #[test]
    fn ids_in_paths_are_read_once_each_and_nonsense_is_kept() {
        let named = Named::read(&format!("{ID},x, {ID},,"), MessageId::parse).expect("few enough");
        assert_eq!((named.ids.len(), named.single, named.missing), (1, false, vec!["x".to_owned()]));
        let one = Named::read(ID, MessageId::parse).expect("one");
        assert!(one.single && one.missing.is_empty());
        assert!(Named::read(&"x,".repeat(IDS_MAX + 1), MessageId::parse).is_err());
    }
}
