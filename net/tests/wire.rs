//! The wire formats against samples drawn from the schemas, against another implementation, against
//! bytes written down, and against hostile bytes.

#![allow(clippy::unwrap_used, reason = "a test: clippy exempts only functions marked so")]

mod wire {
    #[path = "../../build/parse.rs"]
    pub(crate) mod parse;
    #[expect(dead_code, reason = "the generator asks a schema for more than a sample does")]
    #[path = "../../build/schema.rs"]
    pub(crate) mod schema;

    mod agreement;
    mod debug_tree;
    mod golden;
    mod hostile;
    mod random;
    mod sample;
}

// The parser names the schema as it is named in the build script.
use wire::schema;
