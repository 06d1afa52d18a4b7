//! A shorter history that fails in the same place.
//!
//! First whole clients go, with all that they do; then longer and shorter runs of acts; then what the world does by chance between
//! two acts. Each attempt is the whole history once more, so there is an end to them.

use std::collections::BTreeSet;

use super::report::replay;
use super::{Act, Failure, Step};

/// How many shorter histories are tried.
const ATTEMPTS_MAX: usize = 1_500;

struct Shrinking {
    failure: Failure,
    left: usize,
}

/// The shortest form that is found.
pub(super) fn shrink(failure: Failure) -> Failure {
    let mut shrinking = Shrinking { failure, left: ATTEMPTS_MAX };
    loop {
        let before = shrinking.failure.steps.len();
        shrinking.drop_clients();
        shrinking.drop_runs();
        if shrinking.failure.steps.len() == before || shrinking.left == 0 {
            break;
        }
    }
    shrinking.calm_down();
    shrinking.failure
}

impl Shrinking {
    /// Takes these steps if they fail in the same place.
    fn takes(&mut self, steps: Vec<Step>) -> bool {
        if self.left == 0 || steps.len() > self.failure.steps.len() {
            return false;
        }
        self.left -= 1;
        match replay(self.failure.faults, self.failure.seed, &steps) {
            Err((message, place)) if place == self.failure.place => {
                self.failure.steps = steps;
                self.failure.message = message;
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    fn without(&self, goes: impl Fn(&Act) -> bool) -> Vec<Step> {
        self.failure.steps.iter().filter(|step| !goes(&step.act)).cloned().collect()
    }

    fn drop_clients(&mut self) {
        let clients: BTreeSet<usize> = self.failure.steps.iter().filter_map(|step| step.act.who()).collect();
        for who in clients {
            let steps = self.without(|act| act.who() == Some(who));
            self.takes(steps);
        }
        let steps = self.without(Act::is_fault);
        self.takes(steps);
    }

    fn drop_runs(&mut self) {
        let mut run = self.failure.steps.len().div_ceil(2);
        while run > 0 {
            let mut at = 0;
            while at < self.failure.steps.len() {
                let mut steps = self.failure.steps.clone();
                steps.drain(at..(at + run).min(steps.len()));
                if !self.takes(steps) {
                    at += run;
                }
            }
            run /= 2;
        }
    }

    /// Acts after which nothing has to happen are done in one breath with the next.
    fn calm_down(&mut self) {
        for at in 0..self.failure.steps.len() {
            if self.failure.steps[at].deeds > 0 {
                let mut steps = self.failure.steps.clone();
                steps[at].deeds = 0;
                self.takes(steps);
            }
        }
    }
}
