//! The same work by the well-known libraries: each is given what our decoder reads, as the tree of values that it
//! needs, and writes the same message.

use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use ringpost::record::cdt::{Cdt, Token, read_token};
use ringpost::record::{ChangeRecord, Fault, Particle, RecordError, UserKey, decode};
use ringpost::wire::reader::Reader;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value as Json;

/// A kind of tree.
pub trait Tree: Sized {
    fn nil() -> Self;
    fn boolean(value: bool) -> Self;
    fn int(value: i64) -> Self;
    fn float(value: f64) -> Self;
    fn text(value: &[u8]) -> Self;
    fn bytes(value: &[u8]) -> Self;
    /// GeoJSON.
    fn geo(value: &[u8]) -> Self;
    fn list(items: Vec<Self>) -> Self;
    fn map(pairs: Vec<(Self, Self)>) -> Self;
}

fn text_of(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

impl Tree for Json {
    fn nil() -> Json {
        Json::Null
    }
    fn boolean(value: bool) -> Json {
        Json::from(value)
    }
    fn int(value: i64) -> Json {
        Json::from(value)
    }
    fn float(value: f64) -> Json {
        Json::from(value)
    }
    fn text(value: &[u8]) -> Json {
        Json::from(text_of(value))
    }
    fn bytes(value: &[u8]) -> Json {
        Json::from(base64_simd::STANDARD.encode_to_string(value))
    }
    fn geo(value: &[u8]) -> Json {
        serde_json::from_slice(value).unwrap_or(Json::Null)
    }
    fn list(items: Vec<Json>) -> Json {
        Json::Array(items)
    }
    fn map(pairs: Vec<(Json, Json)>) -> Json {
        let name = |key: Json| match key {
            Json::String(text) => text,
            other => other.to_string(),
        };
        Json::Object(pairs.into_iter().map(|(key, value)| (name(key), value)).collect())
    }
}

impl Tree for Avro {
    fn nil() -> Avro {
        Avro::Null
    }
    fn boolean(value: bool) -> Avro {
        Avro::Boolean(value)
    }
    fn int(value: i64) -> Avro {
        Avro::Long(value)
    }
    fn float(value: f64) -> Avro {
        Avro::Double(value)
    }
    fn text(value: &[u8]) -> Avro {
        Avro::String(text_of(value))
    }
    fn bytes(value: &[u8]) -> Avro {
        Avro::Bytes(value.to_vec())
    }
    fn geo(value: &[u8]) -> Avro {
        Avro::String(text_of(value))
    }
    fn list(items: Vec<Avro>) -> Avro {
        Avro::Array(items)
    }
    fn map(pairs: Vec<(Avro, Avro)>) -> Avro {
        let name = |key: Avro| match key {
            Avro::String(text) => text,
            Avro::Long(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        Avro::Map(pairs.into_iter().map(|(key, value)| (name(key), value)).collect())
    }
}

/// What `rmp-serde` is given.
pub enum Pack {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Pack>),
    Map(Vec<(Pack, Pack)>),
}

impl Tree for Pack {
    fn nil() -> Pack {
        Pack::Nil
    }
    fn boolean(value: bool) -> Pack {
        Pack::Bool(value)
    }
    fn int(value: i64) -> Pack {
        Pack::Int(value)
    }
    fn float(value: f64) -> Pack {
        Pack::Float(value)
    }
    fn text(value: &[u8]) -> Pack {
        Pack::Text(text_of(value))
    }
    fn bytes(value: &[u8]) -> Pack {
        Pack::Bytes(value.to_vec())
    }
    fn geo(value: &[u8]) -> Pack {
        Pack::Text(text_of(value))
    }
    fn list(items: Vec<Pack>) -> Pack {
        Pack::List(items)
    }
    fn map(pairs: Vec<(Pack, Pack)>) -> Pack {
        Pack::Map(pairs)
    }
}

impl Serialize for Pack {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Pack::Nil => serializer.serialize_none(),
            Pack::Bool(value) => serializer.serialize_bool(*value),
            Pack::Int(value) => serializer.serialize_i64(*value),
            Pack::Float(value) => serializer.serialize_f64(*value),
            Pack::Text(value) => serializer.serialize_str(value),
            Pack::Bytes(value) => serializer.serialize_bytes(value),
            Pack::List(items) => items.serialize(serializer),
            Pack::Map(pairs) => {
                let mut map = serializer.serialize_map(Some(pairs.len()))?;
                for (key, value) in pairs {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

fn element<T: Tree>(reader: &mut Reader<'_>) -> Result<T, Fault> {
    Ok(match read_token(reader)? {
        Token::Nil => T::nil(),
        Token::Bool(value) => T::boolean(value),
        Token::Int(value) => T::int(value),
        Token::Float(value) => T::float(value),
        Token::Str(value) => T::text(value),
        Token::Bytes(_, value) => T::bytes(value),
        Token::Geo(value) => T::geo(value),
        Token::List { count, .. } => T::list((0..count).map(|_| element(reader)).collect::<Result<_, _>>()?),
        Token::Map { count, .. } => {
            T::map((0..count).map(|_| Ok((element(reader)?, element(reader)?))).collect::<Result<_, _>>()?)
        }
    })
}

fn collection<T: Tree>(cdt: &Cdt<'_>, is_map: bool) -> Result<T, Fault> {
    let mut reader = cdt.elements;
    Ok(if is_map {
        T::map((0..cdt.count).map(|_| Ok((element(&mut reader)?, element(&mut reader)?))).collect::<Result<_, _>>()?)
    } else {
        T::list((0..cdt.count).map(|_| element(&mut reader)).collect::<Result<_, _>>()?)
    })
}

/// Names and values of the bins.
fn bins<T: Tree>(record: &ChangeRecord<'_>) -> Result<Vec<(T, T)>, RecordError> {
    let mut all = Vec::new();
    for bin in record.bins {
        let value = match bin.particle()? {
            Particle::Nil => T::nil(),
            Particle::Int(value) => T::int(value),
            Particle::Float(value) => T::float(value),
            Particle::Bool(value) => T::boolean(value),
            Particle::Str(value) => T::text(value),
            Particle::Blob(_, value) | Particle::Hll(value) | Particle::Unknown(_, value) => T::bytes(value),
            Particle::Geo(value) => T::geo(value),
            Particle::List(cdt) => collection(&cdt, false).map_err(|fault| bin.error(fault, 0))?,
            Particle::Map(cdt) => collection(&cdt, true).map_err(|fault| bin.error(fault, 0))?,
        };
        all.push((T::text(bin.name), value));
    }
    Ok(all)
}

fn user_key<T: Tree>(record: &ChangeRecord<'_>) -> T {
    match record.user_key {
        None => T::nil(),
        Some(UserKey::Int(value)) => T::int(value),
        Some(UserKey::Float(value)) => T::float(value),
        Some(UserKey::Str(value)) => T::text(value),
        Some(UserKey::Bytes(value)) => T::bytes(value),
    }
}

/// The metadata of a write, in the order of flat JSON.
fn metadata<T: Tree>(record: &ChangeRecord<'_>) -> Vec<(T, T)> {
    let number = |value: Option<u64>| value.map_or_else(T::nil, |value| T::int(value as i64));
    let all: [(&[u8], T); 8] = [
        (b"namespace", T::text(record.namespace)),
        (b"set", record.set.map_or_else(T::nil, T::text)),
        (b"userKey", user_key(record)),
        (b"digest", T::bytes(record.digest)),
        (b"msg", T::text(b"write")),
        (b"gen", number(record.generation.map(u64::from))),
        (b"lut", number(record.lut_ms)),
        (b"exp", T::int(0)),
    ];
    all.into_iter().map(|(name, value)| (T::text(name), value)).collect()
}

fn flat<T: Tree>(record: &ChangeRecord<'_>) -> Result<T, RecordError> {
    let mut members = vec![(T::text(b"metadata"), T::map(metadata(record)))];
    members.append(&mut bins(record)?);
    Ok(T::map(members))
}

/// Flat JSON by `serde_json`.
pub fn serde_json(body: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
    let tree: Json = flat(&decode(body)?)?;
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, &tree);
    Ok(())
}

/// The MessagePack arrays by `rmp-serde`.
pub fn rmp_serde(body: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
    let record = decode(body)?;
    let key = Pack::List(vec![
        Pack::text(record.namespace),
        record.set.map_or_else(Pack::nil, Pack::text),
        Pack::bytes(record.digest),
        user_key(&record),
    ]);
    let bins =
        bins(&record)?.into_iter().map(|(name, value)| Pack::List(vec![name, Pack::Int(3), Pack::Int(0), value]));
    let payload = vec![
        key,
        record.generation.map_or_else(Pack::nil, |it| Pack::Int(it.into())),
        Pack::Int(0),
        record.lut_ms.map_or_else(Pack::nil, |it| Pack::Int(it as i64)),
        Pack::List(bins.collect()),
    ];
    let message = Pack::List(vec![Pack::Int(1), Pack::Int(1), Pack::List(payload)]);
    let _ = rmp_serde::encode::write(out, &message);
    Ok(())
}

/// Avro by `apache-avro`, for [`schema`].
pub fn apache_avro(writer: &GenericDatumWriter<'_>, body: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
    let record = decode(body)?;
    let union = |value: Avro| match value {
        Avro::Null => Avro::Union(0, Box::new(Avro::Null)),
        other => Avro::Union(1, Box::new(other)),
    };
    let mut fields: Vec<(String, Avro)> = Vec::new();
    for (name, value) in metadata::<Avro>(&record).into_iter().chain(bins(&record)?) {
        let Avro::String(name) = name else { continue };
        let value = match name.as_str() {
            "set" | "userKey" | "lut" => union(value),
            "gen" | "exp" => match value {
                Avro::Long(number) => union(Avro::Int(number as i32)),
                other => union(other),
            },
            "orders" => orders(value),
            _ => value,
        };
        fields.push((name, value));
    }
    // Writing to memory fails only for a value that is not of the schema: the body's size would be 0 in the report.
    let _ = writer.write_value_ref(out, &Avro::Record(fields));
    Ok(())
}

/// The list of the third sample, whose maps have values of several types: each as its branch of the union.
fn orders(value: Avro) -> Avro {
    let branch = |value: Avro| match value {
        Avro::Long(_) => Avro::Union(0, Box::new(value)),
        Avro::Double(_) => Avro::Union(1, Box::new(value)),
        Avro::String(_) => Avro::Union(2, Box::new(value)),
        other => Avro::Union(3, Box::new(other)),
    };
    let Avro::Array(items) = value else { return value };
    let order = |item: Avro| match item {
        Avro::Map(pairs) => Avro::Map(pairs.into_iter().map(|(key, value)| (key, branch(value))).collect()),
        other => other,
    };
    Avro::Array(items.into_iter().map(order).collect())
}

/// A schema for the records of this benchmark: metadata as top-level fields, then the bins of `body`.
pub fn schema(body: &[u8]) -> Result<String, RecordError> {
    let mut fields = vec![
        serde_json::json!({"name": "namespace", "type": "string"}),
        serde_json::json!({"name": "set", "type": ["null", "string"]}),
        serde_json::json!({"name": "userKey", "type": ["null", "long"]}),
        serde_json::json!({"name": "digest", "type": "bytes"}),
        serde_json::json!({"name": "msg", "type": "string"}),
        serde_json::json!({"name": "gen", "type": ["null", "int"]}),
        serde_json::json!({"name": "lut", "type": ["null", "long"]}),
        serde_json::json!({"name": "exp", "type": ["null", "int"]}),
    ];
    for bin in decode(body)?.bins {
        let name = text_of(bin.name);
        let kind = match bin.particle()? {
            Particle::Int(_) => Json::from("long"),
            Particle::Float(_) => Json::from("double"),
            Particle::Bool(_) => Json::from("boolean"),
            Particle::Str(_) | Particle::Geo(_) => Json::from("string"),
            // The two collections of the third sample: orders, and numbers by day.
            Particle::List(_) => serde_json::json!({"type": "array", "items": {"type": "map", "values": [
                "long", "double", "string", {"type": "array", "items": "string"}]}}),
            Particle::Map(_) => serde_json::json!({"type": "map", "values": "long"}),
            _ => Json::from("bytes"),
        };
        fields.push(serde_json::json!({"name": name, "type": kind}));
    }
    Ok(serde_json::json!({"type": "record", "name": "Row", "fields": fields}).to_string())
}
