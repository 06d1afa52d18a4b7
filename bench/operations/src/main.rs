//! Repeats one operation, for whoever counts its instructions.
//!
//! ```text
//! operations                        # names of all, with their parts
//! operations xml/frame/200 1000     # 1000 times, after the first one
//! ```

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let all = operations::all();
    match arguments.as_slice() {
        [] => {
            for operation in &all {
                println!("{} {}", operation.name, operation.parts);
            }
            ExitCode::SUCCESS
        }
        [name, times] => match (all.iter().find(|operation| operation.name == *name), times.parse::<u64>()) {
            (Some(operation), Ok(times)) => {
                let mut work = operation.prepare();
                (0..times).for_each(|_| work());
                ExitCode::SUCCESS
            }
            (None, _) => fail(&format!("there is no operation {name}")),
            (_, Err(error)) => fail(&format!("{times}: {error}")),
        },
        _ => fail("a name and how many times, or nothing for the list"),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("operations: {why}");
    ExitCode::FAILURE
}
