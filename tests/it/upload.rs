//! Files that users leave (XEP-0363), through the real binary.

use rookery_tests::client::{Client, attribute};
use rookery_tests::http::{self, Account, Connection};
use rookery_tests::server::{DOMAIN, Server};
use rookery_tests::suite;
use serde_json::{Value, json};

const SUITE_SECS_MAX: u64 = 300;
/// Little enough for a test to fill, and a time limit that it can wait for.
const SMALL: &str = "[upload]\nday_bytes_max = 134217728\n\n[limits]\nrequest_secs_max = 4";

#[test]
fn slixmpp_and_curl_bring_and_fetch_files() {
    let server = Server::start_with(SMALL);
    let data = server.directory().join("data");
    let path = |path: &str| data.join(path).display().to_string();
    // What verifies certificates believes in the server's own.
    let extra = [
        ("SSL_CERT_FILE".to_owned(), path("tls/cert.pem")),
        ("ROOKERY_UPLOADS".to_owned(), path("uploads")),
        ("ROOKERY_REQUEST_SECS".to_owned(), "4".to_owned()),
    ];
    suite::python(&server, "slix_upload", &extra, SUITE_SECS_MAX);
    let metrics = server.metrics();
    assert!(metrics.sum("rookery_files_in_total") > 0.0 && metrics.sum("rookery_file_bytes_out_total") > 0.0);
}

/// The paths to put a file to and to get it from.
fn slot(client: &mut Client, name: &str, bytes: usize) -> (String, String) {
    let request = format!("<request xmlns='urn:xmpp:http:upload:0' filename='{name}' size='{bytes}'/>");
    let answer = client.iq("get", &format!("upload.{DOMAIN}"), &request).expect("the server answers");
    let url = |element: &str| {
        let at = answer.find(element).unwrap_or_else(|| panic!("no slot: {answer}"));
        let url = attribute(&answer[at..], "url").expect("a slot has addresses");
        url[url.find("/upload/").expect("the path of files")..].to_owned()
    };
    (url("<put"), url("<get"))
}

#[test]
fn files_and_slots_outlive_sigkill_and_go_with_their_user() {
    let mut server = Server::start();
    let (port, app) = (server.ports.http, server.app.clone());
    let login = |server: &Server, account: &Account| Client::login(server.ports, account).expect("the account exists");
    let romeo = http::new_account(port, &app, "romeo");
    let mut client = login(&server, &romeo);
    let file = json!({"but": "soft"});
    let length = file.to_string().len();
    let put = |path: &str, body: &Value| {
        let mut connection = Connection::open(port).expect("the server listens");
        connection.call("PUT", path, None, body).expect("the server answers").status
    };
    let get = |path: &str| http::get(port, path).expect("the server answers");

    let (put_first, first) = slot(&mut client, "first.json", length);
    let (put_second, second) = slot(&mut client, "second.json", length);
    assert_eq!(put(&put_first, &file), 201);
    server.kill();
    server.restart();
    assert_eq!(get(&first).json(), file);
    assert_eq!(put(&put_first, &file), 409);
    assert_eq!(get(&second).status, 404);
    assert_eq!(put(&put_second, &file), 201, "a slot from before is as good as it was");
    assert_eq!(get(&second).json(), file);

    let mut connection = Connection::open(port).expect("the server listens");
    let request = http::session_request(&app, Some((&romeo.login, &romeo.password)));
    let answer = connection.call("POST", "/session.json", None, &request).expect("the server answers").json();
    let token = answer["session"]["token"].as_str().expect("a session has a token").to_owned();
    let path = format!("/users/{}.json", romeo.id);
    assert_eq!(connection.call("DELETE", &path, Some(&token), &Value::Null).expect("an answer").status, 200);
    let gone = |path: &str| {
        (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(25));
            get(path).status == 404
        })
    };
    assert!(gone(&first) && gone(&second), "the files of somebody who is no more");
}
