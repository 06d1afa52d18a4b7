//! What the micro-benchmarks measure, one operation at a time: no sockets, no disk, the same work at every call.
//!
//! Two read the list: the criterion benches of `rookery-bench` take times, and this package's binary repeats one
//! operation for callgrind, which counts its instructions (`bench/instructions`).

use std::hint::black_box;

pub mod http;
pub mod json;
pub mod message;
pub mod room;
pub mod stored;
pub mod xml;

/// One thing that can be measured.
pub struct Operation {
    /// `subject/what/how large`.
    pub name: String,
    /// Bytes that one call takes in, where a rate of bytes says something.
    pub bytes: Option<u64>,
    /// Parts of the same kind that one call deals with, such as recipients; 1 where it is about one thing.
    pub parts: u64,
    make: Box<dyn Fn() -> Work>,
}

/// Does the operation once; what it needs is inside.
pub type Work = Box<dyn FnMut()>;

impl Operation {
    /// An operation about one thing. `make` prepares all that is not measured.
    fn new<W: FnMut() + 'static>(name: impl Into<String>, make: impl Fn() -> W + 'static) -> Operation {
        Operation { name: name.into(), bytes: None, parts: 1, make: Box::new(move || Box::new(make())) }
    }

    fn of_bytes(self, bytes: usize) -> Operation {
        Operation { bytes: Some(bytes as u64), ..self }
    }

    fn of_parts(self, parts: u64) -> Operation {
        Operation { parts, ..self }
    }

    /// Prepares it. The first call is done here, so that what only that one does is never measured.
    pub fn prepare(&self) -> Work {
        let mut work = (self.make)();
        work();
        work
    }

    /// What it is about: the first part of its name.
    pub fn subject(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }
}

/// All operations, by subject.
pub fn all() -> Vec<Operation> {
    let mut all = Vec::new();
    xml::add(&mut all);
    message::add(&mut all);
    room::add(&mut all);
    http::add(&mut all);
    json::add(&mut all);
    all
}

/// Keeps a result from being left out.
fn keep<T>(result: T) {
    black_box(result);
}
