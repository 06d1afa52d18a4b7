//! The bridge to the local network, on one that this test makes: two network namespaces with a cable between them. In the one is the
//! server, in the other whoever announces himself and opens streams, with python-zeroconf for multicast DNS.

use std::process::Command;

use rookery_tests::server::{Server, app_environment};
use rookery_tests::suite;

const SUITE_SECS_MAX: u64 = 240;

/// Set in the namespaces; the same test runs there once more.
const INSIDE: &str = "ROOKERY_LINK";

/// Everything here is gone with the last process in it.
const NETWORK: &str = "mount -t tmpfs tmpfs /run && ip netns add neighbour && ip link set lo up \
    && ip link add ll0 type veth peer name ll1 netns neighbour \
    && ip address add 169.254.7.1/16 dev ll0 && ip link set ll0 up \
    && ip netns exec neighbour ip address add 169.254.7.2/16 dev ll1 \
    && ip netns exec neighbour ip address add 169.254.7.3/16 dev ll1 \
    && ip netns exec neighbour ip link set ll1 up";

const CONFIGURATION: &str = "[link_local]\nenabled = true\nlisten = \"[::]:0\"\ninterfaces = [\"ll0\"]\n\
    machine = \"pronto\"\napps = [1]";

#[test]
fn users_and_neighbours_talk_over_serverless_streams() {
    if std::env::var_os(INSIDE).is_some() {
        let server = Server::start_with(CONFIGURATION);
        let second_app = app_environment("APP2_", &server.create_app("second"));
        suite::python(&server, "link", &second_app, SUITE_SECS_MAX);
        drop(server);
        return suite::python(&Server::start_with(CONFIGURATION), "link_taken", &[], SUITE_SECS_MAX);
    }
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c", script]);
        command
    };
    match unshare(NETWORK).output() {
        Ok(output) if output.status.success() => {}
        tried => {
            // Some containers allow no namespaces; then there is no network to multicast on that is ours.
            return println!("SKIPPED: this machine lets nobody make networks of their own: {tried:?}");
        }
    }
    let test = std::env::current_exe().expect("a running program has a path");
    let again = format!("{NETWORK} && exec \"$0\" --exact --nocapture \"$1\"");
    let name = "link_local::users_and_neighbours_talk_over_serverless_streams";
    let status = unshare(&again).arg(test).arg(name).env(INSIDE, "1").status().expect("it ran a moment ago");
    assert!(status.success(), "{status}");
}
