//! Types without serde: what they travel as, and values that refuse to be rebuilt.

use mp::{CodecError, GetError, JobError, ProcessError, Reduced, Reducer};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, outcome, value};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::num::ParseIntError;

suite![foreign_types_travel, a_refusal_names_the_type];

/// As if it were another crate's: no serde, private parts.
mod elsewhere {
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct Celsius(i32);

    impl Celsius {
        pub(crate) fn new(degrees: i32) -> Option<Self> {
            (degrees >= -273).then_some(Self(degrees))
        }

        pub(crate) fn degrees(&self) -> i32 {
            self.0
        }
    }

    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct Code(pub(crate) u32);
}

use elsewhere::{Celsius, Code};

mp::reduce! {
    /// Degrees as a number.
    Degrees: Celsius as i32, Celsius::degrees, |degrees| {
        Celsius::new(degrees).ok_or(format!("{degrees}° is below absolute zero"))
    };
    /// In hexadecimal.
    Hex: Code as String, |code| format!("{:x}", code.0), |text| {
        Ok::<_, ParseIntError>(Code(u32::from_str_radix(&text, 16)?))
    };
    /// As it is, for the same type.
    Raw: Code as u32, |code| code.0, |number| Ok::<_, Infallible>(Code(number));
    /// What is reduced to a handle.
    Opened: std::process::Stdio as mp::SharedFd,
        |_| std::fs::File::open("/dev/null").unwrap().into(),
        |fd: mp::SharedFd| fd.into_owned().map(Into::into)
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    #[serde(with = "Degrees")]
    now: Celsius,
    before: Vec<Reduced<Degrees>>,
    #[serde(with = "Hex")]
    code: Code,
    raw: Option<Reduced<Raw>>,
}

fn reading() -> Reading {
    Reading {
        now: Celsius::new(20).unwrap(),
        before: vec![Reduced(Celsius::new(-273).unwrap()), Reduced(Celsius::new(0).unwrap())],
        code: Code(0xbeef),
        raw: Some(Reduced(Code(7))),
    }
}

#[mp::task]
fn warm(by: Reduced<Degrees>, mut reading: Reading) -> Reading {
    let now = reading.now.degrees() + by.degrees();
    reading.before.push(Reduced(std::mem::replace(&mut reading.now, Celsius::new(now).unwrap())));
    reading
}

#[mp::task]
fn open(opened: Reduced<Opened>) -> Reduced<Hex> {
    drop(opened);
    Reduced(Code(1))
}

fn foreign_types_travel(ctx: &mp::Context) {
    for reducer in Reducer::all() {
        let ctx = ctx.clone().with_reducer(reducer);
        let by = Reduced(Celsius::new(5).unwrap());
        let back = value(ctx.process::<warm>((by, reading())));
        let mut expected = reading();
        expected.now = Celsius::new(25).unwrap();
        expected.before.push(Reduced(Celsius::new(20).unwrap()));
        assert_eq!(back, expected, "{reducer}");
        if reducer != Reducer::json() {
            let stdio = Reduced(std::process::Stdio::null());
            assert_eq!(*value(ctx.process::<open>((stdio,))), Code(1));
        }
    }
}

fn a_refusal_names_the_type(ctx: &mp::Context) {
    #[derive(Serialize, Deserialize)]
    struct Forged {
        by: i32,
    }
    for reducer in Reducer::all() {
        let forged = reducer.encode(&(Forged { by: -300 }, 1u8)).unwrap();
        #[derive(Debug, Serialize, Deserialize)]
        struct Genuine {
            by: Reduced<Degrees>,
        }
        match reducer.decode::<(Genuine, u8)>(&forged) {
            Err(CodecError::Rebuild(refusal)) => {
                assert!(refusal.type_name.ends_with("elsewhere::Celsius"), "{refusal:?}");
                assert!(refusal.reason.contains("-300° is below absolute zero"), "{refusal:?}");
                if reducer != Reducer::json() {
                    assert_eq!(refusal.place, ".0.by", "{reducer}");
                }
            }
            // serde_json says where in the text, too.
            Err(CodecError::Malformed(why)) if reducer == Reducer::json() => {
                assert!(why.contains("elsewhere::Celsius"), "{why}");
            }
            other => panic!("{reducer}: {other:?}"),
        }
        // In a worker, whatever was forged.
        let process = ctx.clone().with_reducer(reducer).process::<ForgedWarm>((-300, reading()));
        match outcome(&process.start().unwrap()) {
            Err(ProcessError::Rejected(JobError::BadArguments { reason, .. })) => {
                assert!(reason.contains("elsewhere::Celsius"), "{reducer}: {reason}");
                assert!(reason.contains("-300° is below absolute zero"), "{reducer}: {reason}");
            }
            other => panic!("{reducer}: {other:?}"),
        }
    }
}

/// `warm`, called with degrees that nobody has checked.
#[derive(Debug)]
enum ForgedWarm {}

impl mp::Task for ForgedWarm {
    const NAME: &'static str = <warm as mp::Task>::NAME;
    const SIGNATURE: &'static str = "";
    const DOC: &'static str = "";
    const SCHEMA: u64 = 0;
    const ARITY: usize = 2;
    type Args = (i32, Reading);
    type Output = Reading;

    fn call(_: Self::Args) -> Reading {
        unreachable!("only the caller uses it")
    }

    fn encode(codec: mp::Codec, output: Reading) -> mp::task::Encoded {
        mp::task::ReturnsValue::encode(&mp::task::Returns::new(), codec, output)
    }

    fn append(
        codec: mp::Codec,
        output: Reading,
        into: &mut mp::task::Buffer,
    ) -> Result<bool, Box<CodecError>> {
        mp::task::ReturnsValue::append(&mp::task::Returns::new(), codec, output, into)
    }

    fn decode(codec: mp::Codec, failed: bool, payload: &[u8]) -> Result<Reading, CodecError> {
        mp::task::ReturnsValue::decode(&mp::task::Returns::new(), codec, failed, payload)
    }
}

#[test]
fn an_item_that_refuses_is_given_back_as_bytes() {
    for reducer in super::binary() {
        let queue = mp::Queue::<String>::with_reducer(reducer).unwrap();
        queue.put(&"no hex".to_owned()).unwrap();
        let (bytes, fds) = mp::handles::collect(|| reducer.encode(&queue).unwrap());
        let queue = mp::handles::provide(fds, || {
            reducer.decode::<mp::Queue<Reduced<Hex>>>(&bytes).unwrap()
        });
        match queue.get_timeout(PATIENCE) {
            Err(GetError::Decode { source: CodecError::Rebuild(refusal), bytes, .. }) => {
                assert!(refusal.type_name.ends_with("elsewhere::Code"), "{refusal:?}");
                assert!(refusal.reason.contains("invalid digit"), "{refusal:?}");
                assert_eq!(reducer.decode::<String>(&bytes).unwrap(), "no hex");
            }
            other => panic!("{reducer}: {other:?}"),
        }
        queue.put(&Reduced(Code(255))).unwrap();
        assert_eq!(*queue.get_timeout(PATIENCE).unwrap(), Code(255));
    }
}
