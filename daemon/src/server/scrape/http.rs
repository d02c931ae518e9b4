//! One request out of bytes, and the bytes of its answer. No I/O.
//!
//! Just enough of HTTP/1.1 (RFC 9112) for two pages that are read: a request has no body, and
//! whoever sends one, or something that is no request, is told so and hung up on.

use httparse::{EMPTY_HEADER, Status as Progress};

/// Bytes of a request line with all headers.
pub(super) const HEAD_BYTES_MAX: usize = 8 << 10;
/// Headers of a request. Browsers send some twenty.
const HEADERS_MAX: usize = 64;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Metrics,
    /// The same in the format that was before.
    OlderMetrics,
    Health,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) page: Page,
    /// Whether another may follow on this connection.
    pub(super) keep: bool,
    /// Bytes that it took.
    pub(super) length: usize,
}

/// What an answer begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    BadRequest,
    NotFound,
    NotAllowed,
    Timeout,
    HeadTooLarge,
    Unavailable,
    Version,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::NotAllowed => "405 Method Not Allowed",
            Self::Timeout => "408 Request Timeout",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
            Self::Version => "505 HTTP Version Not Supported",
        }
    }

    /// A header that goes with it.
    fn header(self) -> &'static str {
        match self {
            Self::NotAllowed => "Allow: GET\r\n",
            Self::Unavailable => "Retry-After: 1\r\n",
            _ => "",
        }
    }

    /// What to say to people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Ok => "ok\n",
            Self::BadRequest => "this is no request that can be answered here\n",
            Self::NotFound => "there are /metrics and /healthz\n",
            Self::NotAllowed => "only GET\n",
            Self::Timeout => "the request did not come in time\n",
            Self::HeadTooLarge => "the request is too large\n",
            Self::Unavailable => "not now\n",
            Self::Version => "HTTP/1.0 and HTTP/1.1 only\n",
        }
    }
}

/// The first request of these bytes; `None` while it is not complete.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Request>, Status> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(bytes) {
        Ok(Progress::Complete(length)) => length,
        Ok(Progress::Partial) if bytes.len() >= HEAD_BYTES_MAX => return Err(Status::HeadTooLarge),
        Ok(Progress::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Status::HeadTooLarge),
        Err(httparse::Error::Version) => return Err(Status::Version),
        Err(_) => return Err(Status::BadRequest),
    };
    if length > HEAD_BYTES_MAX {
        return Err(Status::HeadTooLarge);
    }
    let modern = head.version == Some(1);
    check_headers(head.headers, modern)?;
    let page = match path(head.path.unwrap_or_default()) {
        "/metrics" if wants_older(head.headers) => Page::OlderMetrics,
        "/metrics" => Page::Metrics,
        "/healthz" => Page::Health,
        _ => return Err(Status::NotFound),
    };
    if head.method != Some("GET") {
        return Err(Status::NotAllowed);
    }
    Ok(Some(Request { page, keep: keeps(head.headers, modern), length }))
}

/// The path of a target, which may be a whole address and have a query.
fn path(target: &str) -> &str {
    let without_host = || {
        let rest = target.get(7..).filter(|_| target[..7].eq_ignore_ascii_case("http://"))?;
        Some(rest.find('/').map_or("/", |at| &rest[at..]))
    };
    let whole = if target.starts_with('/') || target.len() < 7 || !target.is_char_boundary(7) {
        target
    } else {
        without_host().unwrap_or(target)
    };
    whole.split(['?', '#']).next().unwrap_or(whole)
}

fn named<'h>(headers: &'h [httparse::Header<'h>], name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let own = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    own.map(|header| header.value.trim_ascii())
}

/// Whether a reader names the older format, or plain text, and not the newer one.
fn wants_older(headers: &[httparse::Header<'_>]) -> bool {
    let types = || named(headers, "accept").flat_map(|value| value.split(|byte| *byte == b','));
    let has = |name: &str| {
        types().any(|kind| {
            let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            kind.eq_ignore_ascii_case(name.as_bytes())
        })
    };
    has("text/plain") && !has("application/openmetrics-text")
}

fn check_headers(headers: &[httparse::Header<'_>], modern: bool) -> Result<(), Status> {
    let hosts = named(headers, "host").count();
    if hosts > 1 || (modern && hosts == 0) {
        return Err(Status::BadRequest);
    }
    let empty = |value: &[u8]| !value.is_empty() && value.iter().all(|digit| *digit == b'0');
    let body = named(headers, "transfer-encoding").next().is_some()
        || !named(headers, "content-length").all(empty);
    if body { Err(Status::BadRequest) } else { Ok(()) }
}

fn keeps(headers: &[httparse::Header<'_>], modern: bool) -> bool {
    let says = |word: &str| {
        named(headers, "connection")
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|part| part.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    };
    if modern { !says("close") } else { says("keep-alive") && !says("close") }
}

/// The bytes of an answer.
pub(super) fn answer(status: Status, content_type: &str, body: &str, keep: bool) -> Vec<u8> {
    let (line, header, length) = (status.line(), status.header(), body.len());
    let connection = if keep { "keep-alive" } else { "close" };
    let head = format!(
        "HTTP/1.1 {line}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\n{header}Connection: {connection}\r\n\r\n"
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// An answer that says what is wrong, after which nothing follows.
pub(super) fn refusal(status: Status) -> Vec<u8> {
    answer(status, "text/plain; charset=utf-8", status.words(), false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn get(head: &str) -> Result<Option<Request>, Status> {
        parse(head.replace('\n', "\r\n").as_bytes())
    }

    #[test]
    fn what_is_answered() {
        let ok = |page, keep, text: &str| {
            let length = text.replace('\n', "\r\n").len();
            assert_eq!(get(text), Ok(Some(Request { page, keep, length })), "{text}");
        };
        ok(Page::Metrics, true, "GET /metrics HTTP/1.1\nHost: a\n\n");
        ok(Page::Health, true, "GET /healthz?x=/metrics HTTP/1.1\nhost:\n\n");
        ok(Page::Metrics, true, "GET http://[::1]:9273/metrics HTTP/1.1\nHost: a\n\n");
        ok(Page::Metrics, false, "GET /metrics HTTP/1.1\nHost: a\nConnection: x, Close\n\n");
        ok(Page::Metrics, false, "GET /metrics HTTP/1.0\n\n");
        ok(Page::Metrics, true, "GET /metrics HTTP/1.0\nConnection: Keep-Alive\n\n");
        ok(Page::Metrics, true, "GET /metrics HTTP/1.1\nHost: a\nContent-Length: 0\n\n");
        let first = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
        let two = format!("{first}GET /metrics HTTP/1.1\r\n");
        assert_eq!(parse(two.as_bytes()).unwrap().unwrap().length, first.len());
    }

    #[test]
    fn what_is_refused() {
        for (text, status) in [
            ("GET / HTTP/1.1\nHost: a\n\n", Status::NotFound),
            ("POST / HTTP/1.1\nHost: a\n\n", Status::NotFound),
            ("GET http://metrics HTTP/1.1\nHost: a\n\n", Status::NotFound),
            ("GET /metrics/ HTTP/1.1\nHost: a\n\n", Status::NotFound),
            ("HEAD /metrics HTTP/1.1\nHost: a\n\n", Status::NotAllowed),
            ("POST /metrics HTTP/1.1\nHost: a\nContent-Length: 0\n\n", Status::NotAllowed),
            ("GET /metrics HTTP/1.1\n\n", Status::BadRequest),
            ("GET /metrics HTTP/1.1\nHost: a\nHost: b\n\n", Status::BadRequest),
            ("GET /metrics HTTP/1.1\nHost: a\nContent-Length: 5\n\n", Status::BadRequest),
            ("GET /metrics HTTP/1.1\nHost: a\nContent-Length:\n\n", Status::BadRequest),
            ("GET /metrics HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n", Status::BadRequest),
            ("GET /metrics\n\n", Status::BadRequest),
            ("\u{1}\u{2}\n\n", Status::BadRequest),
            ("PRI * HTTP/2.0\n\nSM\n\n", Status::Version),
        ] {
            assert_eq!(get(text), Err(status), "{text}");
        }
        let many = format!("GET /metrics HTTP/1.1\n{}\n", "a: b\n".repeat(HEADERS_MAX + 1));
        assert_eq!(get(&many), Err(Status::HeadTooLarge));
        let long = format!("GET /{} HTTP/1.1\n", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(get(&long), Err(Status::HeadTooLarge));
        assert_eq!(get(&format!("{long}Host: a\n\n")), Err(Status::HeadTooLarge));
        assert_eq!(get("GET /metrics HTTP/1.1\nHost: a\n"), Ok(None));
        assert_eq!(get(""), Ok(None));
    }

    #[test]
    fn answers_say_how_long_they_are() {
        let text = String::from_utf8(answer(Status::Ok, "text/plain", "ä\n", true)).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"), "{text}");
        assert!(text.contains("Content-Length: 3\r\n"), "{text}");
        assert!(text.ends_with("Connection: keep-alive\r\n\r\nä\n"), "{text}");
        let text = String::from_utf8(refusal(Status::NotAllowed)).unwrap();
        assert!(text.contains("\r\nAllow: GET\r\nConnection: close\r\n"), "{text}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_target_is_answered(target in "[!-~ä]{1,40}") {
            let _ = get(&format!("GET {target} HTTP/1.1\nHost: a\n\n"));
        }
    }
}
