//! The forms a call's parameters come in, well made and not.

use proptest::prelude::*;

use super::*;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=xyz";

fn decode(query: &str, content_type: &str, body: &str) -> Result<Params, Problem> {
    Params::from_parts(query, Some(content_type), &Bytes::copy_from_slice(body.as_bytes()))
}

fn json(body: &str) -> Params {
    decode("", JSON, body).unwrap()
}

fn form(body: &str) -> Params {
    decode("", FORM, body).unwrap()
}

fn multipart(body: &str) -> Result<Params, Problem> {
    decode("", MULTIPART, body)
}

/// The tree as JSON text, which is easy to compare.
fn tree(params: &Params) -> String {
    serde_json::to_string(params.all()).unwrap()
}

fn refusal(result: Result<Params, Problem>) -> (u16, String) {
    let problem = result.unwrap_err();
    (problem.status().code(), serde_json::to_string(&problem).unwrap())
}

#[test]
fn names_nest_by_brackets() {
    for (raw, expected) in [
        ("a=1&b=", r#"{"a":"1","b":""}"#),
        ("a", r#"{"a":""}"#),
        ("a=b=c&&=5&", r#"{"a":"b=c"}"#),
        ("user[login]=bob&user[password]=a+b%2Bc", r#"{"user":{"login":"bob","password":"a b+c"}}"#),
        ("a%5Bb%5D%5Bc%5D=1", r#"{"a":{"b":{"c":"1"}}}"#),
        ("a[b][c]=1&a[b][d]=2", r#"{"a":{"b":{"c":"1","d":"2"}}}"#),
        ("a[]=1&a[]=2", r#"{"a":["1","2"]}"#),
        ("a[0][x]=1&a[1][x]=2", r#"{"a":{"0":{"x":"1"},"1":{"x":"2"}}}"#),
        ("a[][x]=1&a[][y]=2&a[][x]=3", r#"{"a":[{"x":"1","y":"2"},{"x":"3"}]}"#),
        ("a[][x][]=1&a[][x][]=2", r#"{"a":[{"x":["1","2"]}]}"#),
        ("a[][]=1&a[][]=2", r#"{"a":[["1"],["2"]]}"#),
        ("push_all[occupants_ids][]=55,56", r#"{"push_all":{"occupants_ids":["55,56"]}}"#),
        // The last one counts, also when the kind changes.
        ("a=1&a=2", r#"{"a":"2"}"#),
        ("a=1&a[b]=2", r#"{"a":{"b":"2"}}"#),
        ("a[b]=1&a[]=2", r#"{"a":["2"]}"#),
        ("a[]=1&a=2", r#"{"a":"2"}"#),
        // Operators and the words of other languages are names.
        ("_id[$ne]=1&__proto__[x]=2&constructor=3", r#"{"__proto__":{"x":"2"},"_id":{"$ne":"1"},"constructor":"3"}"#),
        ("a%00b=%00", "{\"a\\u0000b\":\"\\u0000\"}"),
        ("", "{}"),
    ] {
        assert_eq!(tree(&form(raw)), expected, "{raw}");
        assert_eq!(tree(&decode(raw, FORM, "").unwrap()), expected, "{raw} as a query");
    }
}

#[test]
fn bad_brackets_and_bytes_are_told_so() {
    for raw in ["a[b=1", "a]=1", "[a]=1", "a[b]c=1", "a[b]]=1", "a[[b]]=1", "[]=1", "a%5Bb=1", "%ff=1", "a=%ff"] {
        let (code, text) = refusal(decode(raw, FORM, ""));
        assert_eq!(code, 400, "{raw}");
        assert!(text.contains("malformed") || text.contains("UTF-8"), "{raw}: {text}");
    }
    let deep = |depth: usize| format!("a{}=1", "[b]".repeat(depth));
    assert!(decode(&deep(DEPTH_MAX - 1), FORM, "").is_ok());
    assert_eq!(refusal(decode(&deep(DEPTH_MAX), FORM, "")).0, 400);
    assert_eq!(refusal(decode(&deep(100_000), FORM, "")).0, 400);
}

#[test]
fn the_body_replaces_the_query() {
    let params = decode("a=1&b[x]=2&c=3", JSON, r#"{"a":10,"b":{"y":5}}"#).unwrap();
    assert_eq!(tree(&params), r#"{"a":10,"b":{"y":5},"c":"3"}"#);
    let params = decode("a=1&c=3", FORM, "a=2").unwrap();
    assert_eq!(tree(&params), r#"{"a":"2","c":"3"}"#);
    let params =
        decode("a=1&c=3", MULTIPART, "--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n2\r\n--xyz--")
            .unwrap();
    assert_eq!(tree(&params), r#"{"a":"2","c":"3"}"#);
}

#[test]
fn nothing_comes_in_many_forms() {
    let part = "--xyz\r\nContent-Disposition: form-data; name=\"0\"\r\n\r\n \r\n--xyz--\r\n";
    for (content_type, body) in [
        (JSON, ""),
        (JSON, "\" \""),
        (JSON, "\"\""),
        (JSON, "{}"),
        (JSON, " \r\n"),
        (JSON, "null"),
        (FORM, ""),
        (FORM, " "),
        (FORM, "+"),
        (MULTIPART, part),
        (MULTIPART, "--xyz--"),
        (MULTIPART, ""),
        ("text/plain", ""),
        ("image/png", " "),
        ("multipart/form-data", ""),
        ("", ""),
    ] {
        assert_eq!(decode("", content_type, body), Ok(Params::default()), "{content_type}: {body:?}");
    }
}

#[test]
fn a_type_we_cannot_read_is_refused_when_there_is_something_to_read() {
    assert_eq!(refusal(decode("", "text/plain;charset=UTF-8", "a=1")).0, 415);
    assert_eq!(refusal(decode("", "application/xml", "<a/>")).0, 415);
    for content_type in ["application/json; charset=utf-8", "Application/JSON", "text/json", "application/vnd.api+json"]
    {
        assert_eq!(tree(&decode("", content_type, "{\"a\":1}").unwrap()), r#"{"a":1}"#);
    }
    let untyped = |body: &'static str| Params::from_parts("", None, &Bytes::from_static(body.as_bytes())).unwrap();
    assert_eq!(tree(&untyped(" {\"a\":1}")), r#"{"a":1}"#);
    assert_eq!(tree(&untyped("a=1")), r#"{"a":"1"}"#);
}

#[test]
fn json_keeps_its_types() {
    let body = r#"{"n":null,"b":true,"i":-5,"u":18446744073709551615,"f":1795336302.374,"t":"é\ud83d\ude00\n","l":[1,"2",[]],"m":{"x":{}}}"#;
    let expected = r#"{"b":true,"f":1795336302.374,"i":-5,"l":[1,"2",[]],"m":{"x":{}},"n":null,"t":"é😀\n","u":18446744073709551615}"#;
    assert_eq!(tree(&json(body)), expected);
}

#[test]
fn json_takes_the_last_of_equal_names() {
    assert_eq!(tree(&json(r#"{"a":1,"a":{"b":2},"a":[3]}"#)), r#"{"a":[3]}"#);
}

#[test]
fn broken_json_is_told_where() {
    for (body, place) in [
        ("{", "line 1 column 1"),
        ("{\n  \"a\": 1,\n}", "line 3 column 1"),
        ("{\"a\":1} x", "line 1 column 9"),
        ("{\"a\":01}", "line 1 column 7"),
        ("{\"a\":NaN}", "line 1 column 6"),
        ("{\"a\":Infinity}", "line 1 column 6"),
        ("{\"a\":1e999}", "line 1"),
        ("{a:1}", "line 1 column 2"),
        ("{'a':1}", "line 1 column 2"),
        ("{\"a\":\"\t\"}", "line 1"),
        ("{\"a\":\"\\ud800\"}", "line 1"),
        ("{\"a\":\"\\ud800\\u0041\"}", "line 1"),
        ("{\"a\":\"\\udc00\"}", "line 1"),
        ("{\"\\ud800\":1}", "line 1"),
        ("{\"a\":\"\\x\"}", "line 1"),
        ("a=1", "line 1 column 1"),
        ("\u{feff}{}", "line 1 column 1"),
        ("[1", "line 1"),
        ("{\"a\":1}{\"b\":2}", "line 1 column 8"),
    ] {
        let (code, text) = refusal(decode("", JSON, body));
        assert_eq!(code, 400, "{body}");
        assert!(text.contains(place), "{body}: {text}");
    }
    let not_utf8 = Params::from_parts("", Some(JSON), &Bytes::from_static(b"{\"a\":\"\xff\"}"));
    assert_eq!(refusal(not_utf8).0, 400);
    for body in ["[1,2]", "5", "true"] {
        assert_eq!(refusal(decode("", JSON, body)).0, 400, "{body}");
    }
}

#[test]
fn json_beyond_64_bits_is_read_as_far_as_it_goes() {
    let params = json(r#"{"limit":1000000000000000000000,"skip":9223372036854775808,"neg":-99999999999999999999}"#);
    assert_eq!(params.int("limit"), Some(i64::MAX));
    assert_eq!(params.int("skip"), Some(i64::MAX));
    assert_eq!(params.int("neg"), Some(i64::MIN));
}

#[test]
fn depth_and_number_of_values_are_bounded() {
    let nested =
        |open: &str, close: &str, depth: usize| format!("{{\"a\":{}1{}}}", open.repeat(depth), close.repeat(depth));
    assert!(decode("", JSON, &nested("[", "]", DEPTH_MAX - 1)).is_ok());
    for depth in [DEPTH_MAX, 100_000] {
        assert_eq!(refusal(decode("", JSON, &nested("[", "]", depth))).0, 400);
        assert_eq!(refusal(decode("", JSON, &nested("{\"a\":", "}", depth))).0, 400);
    }
    assert_eq!(refusal(decode("", JSON, &"[".repeat(1_000_000))).0, 400);
    assert_eq!(refusal(decode("", JSON, &"{\"a\":[".repeat(100_000))).0, 400);
    // Brackets inside a text are no depth.
    assert!(decode("", JSON, &format!("{{\"a\":\"{}\\\"[\"}}", "[".repeat(1000))).is_ok());

    let list = |count: usize| format!("{{\"a\":[{}1]}}", "1,".repeat(count - 1));
    assert!(decode("", JSON, &list(VALUES_MAX - 2)).is_ok());
    assert_eq!(refusal(decode("", JSON, &list(VALUES_MAX - 1))).0, 413);
    assert_eq!(refusal(decode("", JSON, &format!("{{\"a\":[{}[]]}}", "[],".repeat(300_000)))).0, 413);
    let pairs = |count: usize| (0..count).map(|n| format!("p{n}=&")).collect::<String>();
    assert_eq!(form(&pairs(10_000)).all().len(), 10_000);
    assert_eq!(refusal(decode("", FORM, &pairs(VALUES_MAX + 1))).0, 413);
    assert_eq!(refusal(decode("", FORM, &"a[][x][y]=1&".repeat(VALUES_MAX))).0, 413);
}

#[test]
fn text_and_typed_values_read_alike() {
    let typed = json(r#"{"type":2,"public":true,"force":1,"off":false,"zero":0,"name":"x","at":1520955297.960976}"#);
    let texts = form("type=2&public=true&force=1&off=false&zero=0&name=x&at=1520955297.960976");
    for params in [typed, texts] {
        assert_eq!(params.int("type"), Some(2));
        assert_eq!(params.text("type").as_deref(), Some("2"));
        assert_eq!(params.text("public").as_deref(), Some("true"));
        assert_eq!(params.float("at"), Some(1_520_955_297.960_976));
        assert_eq!(params.int("at"), Some(1_520_955_297));
        assert_eq!(params.text("at").as_deref(), Some("1520955297.960976"));
        assert!(params.flag("public") && params.flag("force"));
        assert!(!params.flag("off") && !params.flag("zero") && !params.flag("name") && !params.flag("absent"));
        assert_eq!(params.flag_if_given("off"), Some(false));
        assert_eq!(params.flag_if_given("name"), None);
        assert!(params.has("name") && !params.has("absent"));
    }
}

#[test]
fn odd_numbers_are_bounded_or_none() {
    for (text, int) in [
        ("-1", Some(-1)),
        (" 10 ", Some(10)),
        ("1e18", Some(1_000_000_000_000_000_000)),
        ("9223372036854775808", Some(i64::MAX)),
        ("-1e300", Some(i64::MIN)),
        ("1e999", None),
        ("abc", None),
        ("", None),
        ("10abc", None),
        ("nan", None),
        ("inf", None),
        ("0x10", None),
        ("-", None),
        (".", None),
        ("٣", None),
    ] {
        let params = Params { map: Map::from([("n".into(), Value::from(text))]), files: Vec::new() };
        assert_eq!(params.int("n"), int, "{text:?}");
    }
}

#[test]
fn numbers_are_shown_as_javascript_shows_them() {
    let params = json(r#"{"l":[2.0,-0.5,1e3,1e300,10,-0,-0.0]}"#);
    let texts: Vec<_> = params.list("l").into_iter().filter_map(Value::text).collect();
    assert_eq!(texts, ["2", "-0.5", "1000", "1e300", "10", "0", "0"]);
}

#[test]
fn ids_come_in_every_shape() {
    for body in [
        r#"{"k":"55, 678, 22"}"#,
        r#"{"k":"55,678,22"}"#,
        r#"{"k":[55,678,22]}"#,
        r#"{"k":["55","678","22"]}"#,
        r#"{"k":["55,678", 22]}"#,
        r#"{"k":{"0":55,"1":"678","10":22}}"#,
        r#"{"k":{"10":22,"9":678,"0":55}}"#,
        r#"{"k":"55,678,,22,"}"#,
        r#"{"k":[55,null,678,22]}"#,
    ] {
        assert_eq!(json(body).ids("k"), Ok(vec![55, 678, 22]), "{body}");
    }
    for body in ["k=55, 678, 22", "k[]=55&k[]=678&k[]=22", "k[]=55%2C678%2C22", "k[0]=55&k[1]=678&k[2]=22"] {
        assert_eq!(form(body).ids("k"), Ok(vec![55, 678, 22]), "{body}");
    }
    assert_eq!(json(r#"{"k":5}"#).ids("k"), Ok(vec![5]));
    for body in [r#"{"k":""}"#, r#"{"k":null}"#, r#"{"k":[]}"#, r#"{"k":{}}"#, "{}"] {
        assert_eq!(json(body).ids("k"), Ok(vec![]), "{body}");
    }
    for body in ["-1", "1.5", "true", "\"a\"", "[[1]]", "{\"x\":1}", "\"1 2\"", "\"+1\"", "\"18446744073709551616\""] {
        assert_eq!(json(&format!("{{\"k\":{body}}}")).ids("k"), Err(IdsError::NotAnId), "{body}");
    }
    assert_eq!(form(&format!("k={}", "1,".repeat(IDS_MAX))).ids("k").unwrap().len(), IDS_MAX);
    assert_eq!(form(&format!("k={}", "1,".repeat(100_000))).ids("k"), Err(IdsError::TooMany));
}

#[test]
fn words_and_lists_come_in_every_shape_too() {
    assert_eq!(form("tags=a, b,,c").words("tags"), ["a", "b", "c"]);
    assert_eq!(json(r#"{"tags":["a","b,c",5]}"#).words("tags"), ["a", "b", "c", "5"]);
    let expected = vec![Some("1".into()), Some("2".into())];
    for params in [
        json(r#"{"attachments":[{"id":"1"},{"id":2}]}"#),
        json(r#"{"attachments":{"0":{"id":"1"},"1":{"id":2}}}"#),
        form("attachments[0][id]=1&attachments[1][id]=2"),
        form("attachments[][id]=1&attachments[][id]=2"),
    ] {
        let ids: Vec<_> = params.list("attachments").iter().map(|one| one.child("id")?.text()).collect();
        assert_eq!(ids, expected);
    }
    assert_eq!(json(r#"{"attachments":{"id":"1"}}"#).list("attachments").len(), 1);
}

#[test]
fn paths_lead_to_values() {
    let params = json(r#"{"user":{"login":"bob","tags":["a",{"b":"c"}]},"data":"undefined"}"#);
    assert_eq!(params.text("user[login]").as_deref(), Some("bob"));
    assert_eq!(params.text("user[tags][1][b]").as_deref(), Some("c"));
    assert_eq!(params.text("user[tags][2]"), None);
    assert_eq!(params.text("user"), None);
    assert!(params.map("data").is_none());
    assert_eq!(params.map("user").map(Map::len), Some(2));
    for path in ["", "[", "user[", "user[login", "user]", "user[login][x]", "user[login]x[", "[user]"] {
        assert_eq!(params.value(path), None, "{path}");
    }
}

#[test]
fn pairs_are_sorted_for_the_signature() {
    let expected =
        "application_id=92&auth_key=abc&nonce=-4162&timestamp=1458750000&user[login]=bob&user[password]=secret pass";
    let text = |params: Params| {
        let pairs: Vec<_> = params.pairs().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    };
    let body = r#"{"user":{"password":"secret pass","login":"bob"},"timestamp":1458750000,"nonce":-4162,"auth_key":"abc","application_id":92}"#;
    assert_eq!(text(json(body)), expected);
    assert_eq!(
        text(form(
            "user[password]=secret+pass&application_id=92&nonce=-4162&user%5Blogin%5D=bob&timestamp=1458750000&auth_key=abc"
        )),
        expected
    );
}

#[test]
fn values_do_not_reach_the_log() {
    assert!(!format!("{:?}", json(r#"{"password":"secret"}"#)).contains("secret"));
}

#[test]
fn a_file_is_known_by_its_filename_or_its_field() {
    let body = "preamble\r\n--xyz\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nabc-1\r\n\
        --xyz  \r\ncontent-disposition:form-data; name=\"policy\"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\r\n\
        --xyz\r\nContent-Disposition: form-data; name=\"file\"\r\nContent-Type: application/octet-stream\r\n\r\n\
        \r\n--xy\r\n-- \0\r\n\
        \r\n--xyz\r\nContent-Disposition: form-data; name=avatar; filename=\"a;\\\"b\\\\c%22 .png\"\r\n\r\n\
        PNG\r\n--xyz\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nafter\r\n--xyz--\r\nepilogue";
    let params = multipart(body).unwrap();
    assert_eq!(tree(&params), r#"{"key":"abc-1","name":"after","policy":""}"#);
    let file = params.file("file").unwrap();
    assert_eq!(file.filename, None);
    assert_eq!(file.content_type.as_deref(), Some("application/octet-stream"));
    assert_eq!(file.bytes, "\r\n--xy\r\n-- \0\r\n");
    let avatar = params.file("avatar").unwrap();
    assert_eq!(avatar.filename.as_deref(), Some("a;\"b\\c\" .png"));
    assert_eq!((avatar.content_type.as_deref(), &avatar.bytes[..]), (None, &b"PNG"[..]));
    assert_eq!(params.files().len(), 2);
}

#[test]
fn multipart_names_nest_like_those_of_forms() {
    let field = |name: &str, value: &str| {
        format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = format!("{}{}{}--xyz--", field("a[b][]", "1"), field("a[b][]", "2"), field("c", "a+b%20é"));
    assert_eq!(tree(&multipart(&body).unwrap()), r#"{"a":{"b":["1","2"]},"c":"a+b%20é"}"#);
    assert_eq!(refusal(multipart(&format!("{}--xyz--", field("a[b", "1")))).0, 400);
    assert_eq!(refusal(multipart(&format!("{}--xyz--", field("", "1")))).0, 400);
    assert_eq!(refusal(multipart(&format!("{}--xyz--", field("a", "1").repeat(2_001)))).0, 413);
}

#[test]
fn a_part_may_be_all_but_empty() {
    let head = "Content-Disposition: form-data; name=\"a\"";
    for body in [
        format!("--xyz\r\n{head}\r\n\r\n\r\n--xyz--"),
        format!("--xyz\r\n{head}\r\n\r\n--xyz--"),
        format!("\r\n--xyz\r\n{head}\r\n\r\n\r\n--xyz--"),
    ] {
        assert_eq!(tree(&multipart(&body).unwrap()), r#"{"a":""}"#, "{body:?}");
    }
    let empty_file = format!("--xyz\r\n{head}; filename=\"\"\r\n\r\n\r\n--xyz--");
    assert_eq!(multipart(&empty_file).unwrap().file("a").unwrap().bytes, "");
}

#[test]
fn broken_multipart_is_told_so() {
    let head = "Content-Disposition: form-data; name=\"a\"";
    let large = format!("--xyz\r\n{head}\r\nX: {}\r\n\r\n1\r\n--xyz--", "x".repeat(5000));
    for body in [
        "x",
        "--xyz",
        "--xyz\r\n",
        "--xyzw\r\n",
        "--xyz\n\n",
        &format!("--xyz\r\n{head}"),
        &format!("--xyz\r\n{head}\r\n\r\n1"),
        &format!("--xyz\r\n{head}\r\n\r\n1\r\n--xyz"),
        &format!("--xyz\r\n{head}\r\n\r\n1\r\n--xyzw\r\n"),
        "--xyz\r\n\r\n1\r\n--xyz--",
        "--xyz\r\nno colon\r\n\r\n1\r\n--xyz--",
        "--xyz\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1\r\n--xyz--",
        &large,
    ] {
        assert_eq!(refusal(multipart(body)).0, 400, "{body:?}");
    }
    let not_utf8 = [b"--xyz\r\n", head.as_bytes(), b"\r\n\r\n\xff\r\n--xyz--"].concat();
    assert_eq!(refusal(Params::from_parts("", Some(MULTIPART), &not_utf8.into())).0, 400);
    for content_type in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"a"] {
        assert_eq!(refusal(decode("", content_type, "x")).0, 400, "{content_type}");
    }
    let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
    assert_eq!(refusal(decode("", &long, "x")).0, 400);
    let quoted = "multipart/form-data; charset=utf-8; Boundary=\"a b:c\"";
    assert!(decode("", quoted, &format!("--a b:c\r\n{head}\r\n\r\n1\r\n--a b:c--")).is_ok());
}

#[test]
fn every_prefix_of_a_multipart_body_is_refused() {
    let body = "--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--xyz\r\n\
                Content-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n22\r\n--xyz--";
    for end in 1..body.len() {
        assert_eq!(refusal(multipart(&body[..end])).0, 400, "{:?}", &body[..end]);
    }
    assert!(multipart(body).is_ok());
}

fn content_type() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![None, Some(JSON), Some(FORM), Some(MULTIPART), Some("multipart/form-data"), Some("a/b")])
}

/// Bodies made of what the decoders look for.
fn pieces() -> impl Strategy<Value = String> {
    let words = [
        "--xyz",
        "\r\n",
        "\r\n\r\n",
        "--",
        "Content-Disposition: form-data; name=\"a\"",
        "; filename=\"",
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"a\"",
        "1",
        "-",
        "e9",
        "null",
        "a",
        "=",
        "&",
        "%",
        "%5",
        "%5B",
        "%ff",
        "+",
        " ",
        "\0",
        "é",
        "\\ud800",
        "\\udc00",
        "\\u0041",
        ".",
        "0",
        "+1",
        "true",
        "\t",
        "\n",
        "\u{7f}",
        "/",
        "[]",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..40).prop_map(|words| words.concat())
}

/// Reads everything there is in every way there is.
fn read_all(params: &Params) {
    let pairs = params.pairs();
    for (path, _) in pairs.iter().take(50) {
        let (_, _, _) = (params.text(path), params.int(path), params.float(path));
        let (_, _, _) = (params.flag(path), params.ids(path), params.words(path));
        let (_, _) = (params.list(path), params.map(path));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(query: String, kind in content_type(), body: Vec<u8>) {
        if let Ok(params) = Params::from_parts(&query, kind, &body.into()) {
            read_all(&params);
        }
    }

    #[test]
    fn no_pieces_make_it_panic(query in pieces(), kind in content_type(), body in pieces()) {
        if let Ok(params) = Params::from_parts(&query, kind, &body.into()) {
            read_all(&params);
        }
    }

    #[test]
    fn no_content_type_makes_it_panic(content_type: String, parameters in pieces(), body in pieces()) {
        let body = Bytes::from(body);
        let _result = Params::from_parts("", Some(&content_type), &body);
        let _result = Params::from_parts("", Some(&format!("multipart/form-data;{parameters}")), &body);
    }

    /// What the fast parser takes, the exact one takes as well, and reads the same.
    #[test]
    fn the_fast_json_parser_is_not_lenient(body in pieces()) {
        if let Some(fast) = json::fast(body.as_bytes(), &mut Budget::new()) {
            prop_assert_eq!(Some(fast), json::explain(body.as_bytes(), &mut Budget::new()).ok());
        }
    }

    #[test]
    fn what_is_written_as_json_is_read_again(texts in prop::collection::btree_map(any::<String>(), any::<String>(), 0..8)) {
        let body = serde_json::to_string(&texts).unwrap();
        prop_assert_eq!(tree(&json(&body)), body);
    }
}
