//! Connections for calls: one call at a time on each, the others wait their turn here, as in a client's pool.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::client::{ConnId, Engine};

/// Calls under way and calls that wait; `T` says which call it is.
pub struct Lines<T> {
    lines: Vec<Line<T>>,
    places: HashMap<ConnId, usize>,
}

struct Line<T> {
    id: ConnId,
    under_way: Option<(Instant, T)>,
    waiting: VecDeque<(Instant, T)>,
}

impl<T: Copy> Lines<T> {
    /// Over these connections.
    pub fn new(ids: &[ConnId]) -> Self {
        Self {
            lines: ids.iter().map(|id| Line { id: *id, under_way: None, waiting: VecDeque::new() }).collect(),
            places: ids.iter().enumerate().map(|(place, id)| (*id, place)).collect(),
        }
    }

    /// How many connections there are.
    pub fn count(&self) -> usize {
        self.lines.len()
    }

    /// True while no call is under way or waits.
    pub fn is_idle(&self) -> bool {
        self.lines.iter().all(|line| line.under_way.is_none())
    }

    /// Makes a call on a line now, or when the calls before it have been answered; `request` gives its bytes.
    pub fn ask(&mut self, engine: &mut Engine, line: usize, due: Instant, call: T, request: impl FnOnce(T) -> Vec<u8>) {
        let line = &mut self.lines[line];
        if line.under_way.is_some() {
            return line.waiting.push_back((due, call));
        }
        line.under_way = Some((due, call));
        engine.out(line.id).extend_from_slice(&request(call));
    }

    /// The call that was answered: its line, when it was due and which it was. The next one that waits there is made.
    pub fn answered(
        &mut self,
        engine: &mut Engine,
        id: ConnId,
        request: impl FnOnce(usize, T) -> Vec<u8>,
    ) -> Option<(usize, Instant, T)> {
        let place = *self.places.get(&id)?;
        let line = &mut self.lines[place];
        let (due, call) = line.under_way.take()?;
        if let Some((due, next)) = line.waiting.pop_front() {
            line.under_way = Some((due, next));
            engine.out(id).extend_from_slice(&request(place, next));
        }
        Some((place, due, call))
    }
}
