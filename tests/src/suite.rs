//! Runs a suite that is written elsewhere than in Rust: a child process in a group of its own, bounded in time, its output
//! shown whole when it fails.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::Server;

/// `tests/e2e` in the source tree.
fn e2e() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e")
}

/// `node --test FILE` in `tests/e2e/node`.
pub fn node(server: &Server, file: &str, extra: &[(String, String)], secs_max: u64) {
    let directory = e2e().join("node");
    assert!(directory.join("node_modules").exists(), "tests/e2e/node is not installed: run tests/setup.sh");
    let mut command = Command::new("node");
    command.args(["--test", file]).current_dir(directory);
    run(command, server, extra, file, secs_max);
}

/// `python -m unittest MODULE` in `tests/e2e/python`, with the Python that `tests/setup.sh` prepared; several modules, with blanks
/// between them, run one after the other.
pub fn python(server: &Server, modules: &str, extra: &[(String, String)], secs_max: u64) {
    let python = std::env::var_os("ROOKERY_PYTHON").map_or_else(
        || {
            let home = std::env::var_os("HOME").expect("HOME is set");
            Path::new(&home).join(".cache/rookery/venv/bin/python")
        },
        PathBuf::from,
    );
    assert!(python.exists(), "{} is not there: run tests/setup.sh, or set ROOKERY_PYTHON", python.display());
    let mut command = Command::new(python);
    // A test that failed may leave its sockets open; of all that is to be said then, this is the least.
    let quiet = ["-W", "ignore::ResourceWarning"];
    command
        .arg("-B")
        .args(quiet)
        .args(["-m", "unittest", "-v"])
        .args(modules.split(' '))
        .current_dir(e2e().join("python"));
    run(command, server, extra, modules, secs_max);
}

fn run(mut command: Command, server: &Server, extra: &[(String, String)], name: &str, secs_max: u64) {
    let output = tempfile::NamedTempFile::new().expect("a temporary file");
    // One open file with one position for both, so that neither overwrites the other.
    let shared = File::options().append(true).open(output.path()).expect("our temporary file");
    let mut child = command
        .envs(server.environment())
        .envs(extra.iter().cloned())
        .stdin(Stdio::null())
        .stdout(shared.try_clone().expect("a file handle can be shared"))
        .stderr(shared)
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{:?}: {error}: run tests/setup.sh", command.get_program()));
    let deadline = Instant::now() + Duration::from_secs(secs_max);
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            break Some(status);
        }
        if Instant::now() > deadline {
            let group = -libc::pid_t::try_from(child.id()).expect("process ids fit pid_t");
            // SAFETY: `kill` takes no pointers; the group is the one that our own child, not yet waited for, leads.
            unsafe { libc::kill(group, libc::SIGKILL) };
            child.wait().expect("the child is ours");
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let mut text = String::new();
    let read = File::open(output.path()).and_then(|mut file| file.read_to_string(&mut text));
    read.expect("our temporary file is text");
    match status {
        Some(status) if status.success() => {
            let summary: Vec<&str> = text.lines().rev().take(9).collect();
            for line in summary.iter().rev() {
                println!("{name}: {line}");
            }
        }
        Some(status) => panic!("{name}: {status}\n{text}"),
        None => panic!("{name}: not done after {secs_max} s\n{text}"),
    }
}
