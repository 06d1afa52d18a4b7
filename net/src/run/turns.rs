//! Turns for work that may be long and of which a few clients may ask a lot: one after the other, with a round of everybody else in
//! between.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;

use crate::rt::{self, Bell};

/// Those who wait for a turn, in the order in which they came.
#[derive(Default)]
pub(crate) struct Turns {
    waiting: RefCell<VecDeque<(Bell, Turn)>>,
    bell: Bell,
}

/// True once it has come. Who waits no longer lets it pass.
pub(crate) type Turn = Rc<Cell<bool>>;

impl Turns {
    /// Waits in the queue; the bell rings when the turn has come.
    pub fn wait(&self, bell: &Bell) -> Turn {
        let turn = Turn::default();
        self.waiting.borrow_mut().push_back((bell.clone(), Rc::clone(&turn)));
        self.bell.ring();
        turn
    }

    /// Deals out the turns, for ever.
    pub async fn deal(self: Rc<Turns>) {
        loop {
            poll_fn(|cx| self.bell.poll(cx)).await;
            loop {
                let Some((bell, turn)) = self.waiting.borrow_mut().pop_front() else { break };
                turn.set(true);
                bell.ring();
                rt::step_aside().await;
            }
        }
    }
}
