//! The steady state allocates nothing.

use super::message::*;
use ringpost::config::model::{self, Format};
use ringpost::format::{Formatter, Notes};
use ringpost::record;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a count per thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[test]
fn nothing_is_allocated_once_the_scratch_has_grown() {
    let nested =
        r#"{"type":"record","name":"P","fields":[{"name":"x","type":"long"},{"name":"y","type":["null","P"]}]}"#;
    let record = record_schema(&format!(
        r#"{{"name":"namespace","type":"string"}},{{"name":"digest","type":"bytes"}},
        {{"name":"i","type":"long"}},{{"name":"s","type":["null","string"]}},{{"name":"d","type":"string","default":"none"}},
        {{"name":"p","type":{nested}}},{{"name":"m","type":{{"type":"map","values":["long","P",{{"type":"map","values":"long"}}]}}}}"#
    ));
    let map = format!(
        r#"{{"type":"map","values":["null","long","string",{nested},{{"type":"map","values":["long","string","bytes","P",{{"type":"map","values":"long"}}]}}]}}"#
    );
    let bins = [
        int("i", 5),
        int("i", 6),
        text("s", "text"),
        cdt("p", r#"{"y":{"y":null,"x":1},"x":2,"z":[1]}"#),
        cdt("m", r##"{"b":1,"#2.5":{"x":3},"#7":{"q":4},"a":5}"##),
        int("metadata", 1),
    ];
    let messages = [message(WRITE, &bins), message(DELETE, &[])];
    for (schema, key) in [(&record, None), (&map, Some("metadata"))] {
        let format = model::Avro { metadata_key: key.map(str::to_owned), ..avro(schema) };
        let mut formatter = Formatter::new(&Format::Avro(format), LIMITS);
        let mut out = Vec::with_capacity(1 << 16);
        let mut notes = Notes::default();
        let mut run = |rounds: usize| {
            let before = COUNT.with(Cell::get);
            let mut written = 0;
            for body in messages.iter().cycle().take(rounds) {
                out.clear();
                let record = record::decode(body).unwrap();
                // A delete does not fit the record schema, which is an error like any other.
                written += usize::from(formatter.encode(&record, ARRIVAL_MS, &mut out, &mut notes).is_ok());
            }
            (COUNT.with(Cell::get) - before, written)
        };
        assert!(run(10).1 >= 5);
        assert_eq!(run(100).0, 0);
    }
}
