//! `ringpost-bench micro`: the time and the allocations of the steps that every record takes, one at a time.

mod allocations;
mod engine;
mod rivals;
mod samples;

use apache_avro::writer::datum::GenericDatumWriter;
use ringpost::config::model::{Avro, BinSet, BinTransforms, Format, NameTransform};
use ringpost::delivery::gzip::Gzip;
use ringpost::delivery::tap::{Filter, Share};
use ringpost::delivery::window::AckWindow;
use ringpost::format::{AvroSchema, Formatter, Notes};
use ringpost::metrics::recorder::{Recorder, nanos};
use ringpost::metrics::stages::Response;
use ringpost::policy::transforms::Transformer;
use ringpost::record::{DecodeLimits, RecordError, decode};
use ringpost::time::{Now, Time};
use ringpost::wire::ack;
use samples::Sample;
use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// When the measured records arrive.
const ARRIVAL_MS: u64 = 1_700_000_000_500;

/// Records of one connection that are in flight together.
const ACK_BATCH: usize = 64;

/// The output buffer is emptied at this size, as an executor hands a chunk on.
const CHUNK_BYTES: usize = 64 << 10;

/// Arguments of `micro`.
#[derive(Debug, clap::Args)]
pub struct MicroArgs {
    /// Rounds; the fastest and the median are reported.
    #[arg(long, default_value_t = 15)]
    rounds: u32,
    /// Milliseconds of each round.
    #[arg(long, default_value_t = 40)]
    round_ms: u32,
    /// Only what has this in its name.
    #[arg(long)]
    only: Option<String>,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// One line of the report.
struct Measurement {
    step: &'static str,
    record: &'static str,
    message_bytes: usize,
    body_bytes: usize,
    nanos_min: f64,
    nanos_median: f64,
    allocations: f64,
}

/// A step: takes a message, may append to the buffer.
type Step<'a> = Box<dyn FnMut(&[u8], &mut Vec<u8>) -> Result<(), RecordError> + 'a>;

/// Measures and prints.
///
/// # Errors
/// A sample cannot be decoded, which is a fault of this program.
pub fn run(arguments: &MicroArgs) -> Result<ExitCode, Box<dyn Error>> {
    let mut measurements = Vec::new();
    for sample in samples::all() {
        for (name, mut step) in steps(&sample.body)? {
            let wanted = arguments.only.as_ref().is_none_or(|only| name.contains(only) || sample.name.contains(only));
            if wanted {
                measurements.push(measure(name, &sample, &mut step, arguments)?);
            }
        }
    }
    if arguments.json {
        print_json(&measurements)
    } else {
        print_table(&measurements)
    }
    Ok(ExitCode::SUCCESS)
}

fn steps(body: &[u8]) -> Result<Vec<(&'static str, Step<'_>)>, Box<dyn Error>> {
    let limits = DecodeLimits { max_depth: 256 };
    let typed = Format::Json { stringify_map_keys: true, text: Default::default() };
    let flat = Format::FlatJson { metadata_key: "metadata".into(), stringify_map_keys: true, text: Default::default() };
    let pack = Format::MessagePack { delete_metadata: false, invalid_utf8: Default::default() };
    let text = rivals::schema(body)?;
    let avro = Format::Avro(Avro {
        schema: AvroSchema::parse(&text)?,
        schema_file: None,
        metadata_key: None,
        stringify_map_keys: true,
        invalid_utf8: Default::default(),
    });
    // Schema and writer live as long as the program: there are three.
    let schema: &'static apache_avro::Schema = Box::leak(Box::new(apache_avro::Schema::parse_str(&text)?));
    let writer = GenericDatumWriter::builder(schema).build()?;
    let record = decode(body)?;
    let one_of_1000 = Share::of(0.001).ok_or("0.001 is no share")?;
    let encode = |format: &Format| -> Step<'_> {
        let (mut formatter, mut notes) = (Formatter::new(format, limits), Notes::default());
        Box::new(move |_, out| formatter.encode(black_box(&record), ARRIVAL_MS, out, &mut notes))
    };
    let both = |format: &Format| -> Step<'_> {
        let (mut formatter, mut notes) = (Formatter::new(format, limits), Notes::default());
        Box::new(move |body, out| formatter.encode(&decode(body)?, ARRIVAL_MS, out, &mut notes))
    };
    Ok(vec![
        (
            "decode",
            Box::new(|body, _| {
                decode(body).map(|record| {
                    black_box(record);
                })
            }),
        ),
        ("json", encode(&typed)),
        ("flat-json", encode(&flat)),
        ("message-pack", encode(&pack)),
        ("avro", encode(&avro)),
        ("xdr", encode(&Format::Xdr)),
        ("bin-transforms", transform()?),
        ("gzip of flat-json", zip(body, &flat, limits)?),
        ("ack window", ack_window()),
        ("figures", figures()),
        ("engine", engine::whole(body, None)?),
        ("  one of 1,000 tapped", engine::whole(body, Some(Filter { share: one_of_1000, ..Filter::ALL }))?),
        ("  all tapped", engine::whole(body, Some(Filter::ALL))?),
        // The same from the message's bytes on, each beside the library that is known for it.
        ("decode + json", both(&typed)),
        ("decode + flat-json", both(&flat)),
        ("  by serde_json", Box::new(rivals::serde_json)),
        ("decode + message-pack", both(&pack)),
        ("  by rmp-serde", Box::new(rivals::rmp_serde)),
        ("decode + avro", both(&avro)),
        ("  by apache-avro", Box::new(move |body, out| rivals::apache_avro(&writer, body, out))),
    ])
}

/// A prefix for every bin but one, which is dropped; the names are remembered after the first record.
fn transform<'a>() -> Result<Step<'a>, Box<dyn Error>> {
    let prefix = NameTransform::Regex { pattern: "^".into(), replacement: "app_".into() };
    let config = BinTransforms {
        exclude: Some(BinSet::Specified(vec!["score".into()])),
        transforms: vec![prefix],
        ..BinTransforms::default()
    };
    let mut transformer = Transformer::new(&config)?;
    Ok(Box::new(move |body, _| {
        black_box(transformer.apply(&decode(body)?)?);
        Ok(())
    }))
}

/// The body of one record, compressed.
fn zip<'a>(body: &[u8], format: &Format, limits: DecodeLimits) -> Result<Step<'a>, RecordError> {
    let mut plain = Vec::new();
    Formatter::new(format, limits).encode(&decode(body)?, ARRIVAL_MS, &mut plain, &mut Notes::default())?;
    let mut gzip = Gzip::default();
    Ok(Box::new(move |_, out| {
        out.extend_from_slice(&gzip.compress(&plain).unwrap_or_default());
        Ok(())
    }))
}

/// A record's place in its connection's window, its code, and its ack: deliveries of a batch end in reverse order, the
/// worst one, so that every ack but the last waits for its turn.
fn ack_window<'a>() -> Step<'a> {
    let mut window = AckWindow::default();
    let mut open = Vec::with_capacity(ACK_BATCH);
    Box::new(move |_, out| {
        open.push(window.open(Time::ZERO));
        if open.len() == ACK_BATCH {
            while let Some(number) = open.pop() {
                window.complete(number, ack::OK.into(), Time::ZERO);
            }
            while let Some(released) = window.release(Time::ZERO) {
                out.extend_from_slice(&ack::encode(released.answer.code()));
            }
        }
        Ok(())
    })
}

/// What [`Recorder`] counts from.
static ORIGIN: OnceLock<Instant> = OnceLock::new();

fn stopwatch() -> Time {
    Time::from_nanos(ORIGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64)
}

/// All stages of one record are recorded, and its lag: as the engine does it, at times that differ.
fn figures<'a>() -> Step<'a> {
    let mut recorder = Recorder::new(stopwatch, 1);
    let mut response = Response::default();
    let mut random = 1_u64;
    Box::new(move |body, _| {
        random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        // From 4 to 8 us, with one of 256 that takes 64 times as long.
        let mut some = 4_096 + (random >> 52);
        if random >> 40 & 0xff == 0 {
            some *= 64;
        }
        let micros = |count: u64| Duration::from_nanos(some * count);
        recorder.decode_begins(body.len(), recorder.moment());
        recorder.decoded();
        recorder.arrived(Some(ARRIVAL_MS - (random >> 57)), Now { monotonic: recorder.moment(), unix_ms: ARRIVAL_MS });
        recorder.encode_begins();
        recorder.encoded();
        let encoded = recorder.moment();
        recorder.sent(encoded, encoded + micros(2));
        response.record(nanos(micros(20)), 1);
        recorder.released(micros(1), micros(23));
        Ok(())
    })
}

fn measure(
    name: &'static str,
    sample: &Sample,
    step: &mut Step<'_>,
    arguments: &MicroArgs,
) -> Result<Measurement, RecordError> {
    let mut out = Vec::with_capacity(CHUNK_BYTES * 2);
    step(&sample.body, &mut out)?;
    let body_bytes = out.len();
    // Enough turns for a round, from one short trial.
    let trial = turns(step, &sample.body, &mut out, 2_000)?;
    let per_round = (f64::from(arguments.round_ms) * 1e6 / trial.max(1.0)).max(1.0) as u64;
    let mut rounds = Vec::with_capacity(arguments.rounds.max(1) as usize);
    let before = allocations::count();
    for _ in 0..arguments.rounds.max(1) {
        rounds.push(turns(step, &sample.body, &mut out, per_round)?);
    }
    let counted = allocations::count() - before;
    let allocations = counted as f64 / (per_round * u64::from(arguments.rounds.max(1))) as f64;
    rounds.sort_unstable_by(f64::total_cmp);
    Ok(Measurement {
        step: name,
        record: sample.name,
        message_bytes: sample.body.len() + 8,
        body_bytes,
        nanos_min: rounds.first().copied().unwrap_or_default(),
        nanos_median: rounds.get(rounds.len() / 2).copied().unwrap_or_default(),
        allocations,
    })
}

/// Nanoseconds per turn.
fn turns(step: &mut Step<'_>, body: &[u8], out: &mut Vec<u8>, count: u64) -> Result<f64, RecordError> {
    let start = Instant::now();
    for _ in 0..count {
        if out.len() > CHUNK_BYTES {
            out.clear();
        }
        step(black_box(body), out)?;
    }
    black_box(&*out);
    Ok(start.elapsed().as_nanos() as f64 / count as f64)
}

fn print_table(measurements: &[Measurement]) {
    println!("step                   record           frame B  body B   min ns  median ns  allocations");
    for line in measurements {
        println!(
            "{:<22} {:<15} {:>8} {:>7} {:>8.0} {:>10.0} {:>12.4}",
            line.step,
            line.record,
            line.message_bytes,
            line.body_bytes,
            line.nanos_min,
            line.nanos_median,
            line.allocations
        );
    }
}

fn print_json(measurements: &[Measurement]) {
    let lines: Vec<_> = measurements
        .iter()
        .map(|line| {
            serde_json::json!({
                "step": line.step,
                "record": line.record,
                "frame_bytes": line.message_bytes,
                "body_bytes": line.body_bytes,
                "nanos_min": line.nanos_min,
                "nanos_median": line.nanos_median,
                "allocations_per_record": line.allocations,
            })
        })
        .collect();
    println!("{}", serde_json::json!({ "micro": lines }));
}
