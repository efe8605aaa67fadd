//! Reading JSON bodies into generated structures, with the service's own words for wrong types.
//!
//! Three things differ from serde's defaults: a structure is an object and never an array, blobs are
//! base64 decoded straight from the body, and every message is the service's
//! (`STRING_VALUE can not be converted to an Integer`). Unknown members are skipped, as on AWS; a
//! member given twice is refused, since two readers of one request could disagree about it.
//! Depth is bounded: modelled types do not recurse, and serde_json skips unknown values without
//! recursion.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

mod scalar;

pub(crate) use scalar::scalar;

use crate::WireFault;
use scalar::Scalar;

const STRUCTURE_EXPECTED: &str = "Start of structure or map expected";
const STRUCTURE_FOUND: &str = "Start of structure or map found where not expected.";
const LIST_FOUND: &str = "Start of list found where not expected";

/// Reads one document. An empty body is an empty document, as on AWS.
pub(crate) fn read<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, WireFault> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    match first {
        None => Ok(T::default()),
        Some(b'{') => serde_json::from_slice(body)
            .map_err(|error| WireFault::Serialization(error.to_string())),
        Some(_) => Err(WireFault::Serialization(
            match serde_json::from_slice::<de::IgnoredAny>(body) {
                Ok(_) => STRUCTURE_EXPECTED.into(),
                Err(error) => error.to_string(),
            },
        )),
    }
}

/// Writes one document. The generated structures hold nothing that JSON cannot say.
pub(crate) fn write<T: Serialize>(value: &T) -> Bytes {
    serde_json::to_vec(value)
        .expect("strings, numbers, lists and maps with string keys always serialise")
        .into()
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a structure")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(de::Error::custom(LIST_FOUND))
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(E::custom(STRUCTURE_EXPECTED))
    }
}

/// A nested structure, which must be an object: derived code alone would also take an array.
pub(crate) fn object<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    from.deserialize_any(ObjectVisitor(PhantomData))
}

struct Strict<T>(T);

impl<'de, T: Scalar> Deserialize<'de> for Strict<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match scalar(from)? {
            Some(value) => Ok(Strict(value)),
            None => Err(de::Error::custom(format_args!(
                "NULL_VALUE can not be converted to {}",
                T::NAME
            ))),
        }
    }
}

/// A list of scalars; null is absence.
pub(crate) fn list<'de, T: Scalar, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let list: Option<Vec<Strict<T>>> = Option::deserialize(from)?;
    Ok(list.map(|items| items.into_iter().map(|Strict(item)| item).collect()))
}

struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match object(from)? {
            Some(value) => Ok(Object(value)),
            None => Err(de::Error::custom(STRUCTURE_EXPECTED)),
        }
    }
}

/// A list of structures; null is absence.
pub(crate) fn objects<'de, T, D>(from: D) -> Result<Option<Vec<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let list: Option<Vec<Object<T>>> = Option::deserialize(from)?;
    Ok(list.map(|items| items.into_iter().map(|Object(item)| item).collect()))
}

struct MapVisitor<T>(PhantomData<T>);

impl<'de, T: Scalar> Visitor<'de> for MapVisitor<T> {
    type Value = Option<BTreeMap<String, T>>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut read = BTreeMap::new();
        while let Some((key, Strict(value))) = map.next_entry::<String, Strict<T>>()? {
            if read.contains_key(&key) {
                return Err(de::Error::custom(format_args!("duplicate key `{key}`")));
            }
            read.insert(key, value);
        }
        Ok(Some(read))
    }
}

/// A map of scalars; null is absence, a key given twice is refused.
pub(crate) fn map<'de, T: Scalar, D>(from: D) -> Result<Option<BTreeMap<String, T>>, D::Error>
where
    D: Deserializer<'de>,
{
    from.deserialize_any(MapVisitor(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Debug, Deserialize, PartialEq)]
    struct Inner {
        #[serde(default, deserialize_with = "list")]
        names: Option<Vec<String>>,
    }

    #[derive(Default, Debug, Deserialize, PartialEq)]
    struct Sample {
        #[serde(default, deserialize_with = "scalar")]
        text: Option<String>,
        #[serde(default, deserialize_with = "scalar")]
        count: Option<i32>,
        #[serde(default, deserialize_with = "scalar")]
        flag: Option<bool>,
        #[serde(default, deserialize_with = "scalar")]
        blob: Option<Bytes>,
        #[serde(default, deserialize_with = "object")]
        inner: Option<Inner>,
        #[serde(default, deserialize_with = "map")]
        tags: Option<BTreeMap<String, String>>,
    }

    fn check(body: &str, expected: &str) {
        match read::<Sample>(body.as_bytes()) {
            Err(WireFault::Serialization(text)) => {
                assert!(text.starts_with(expected), "{body}: {text}")
            }
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn wrong_types_are_refused_in_the_services_words() {
        check(
            r#"{"count":"3"}"#,
            "STRING_VALUE can not be converted to an Integer",
        );
        check(
            r#"{"count":2147483648}"#,
            "NUMBER_VALUE can not be converted to an Integer",
        );
        check(
            r#"{"count":1.5}"#,
            "NUMBER_VALUE can not be converted to an Integer",
        );
        check(
            r#"{"text":3}"#,
            "NUMBER_VALUE can not be converted to a String",
        );
        check(
            r#"{"text":true}"#,
            "TRUE_VALUE can not be converted to a String",
        );
        check(r#"{"text":{}}"#, STRUCTURE_FOUND);
        check(r#"{"text":[]}"#, LIST_FOUND);
        check(
            r#"{"flag":"true"}"#,
            "STRING_VALUE can not be converted to a Boolean",
        );
        check(r#"{"blob":"!"}"#, "Unable to decode base64 content");
        check(r#"{"inner":[["a"]]}"#, LIST_FOUND);
        check(r#"{"inner":"a"}"#, STRUCTURE_EXPECTED);
        check(
            r#"{"inner":{"names":[null]}}"#,
            "NULL_VALUE can not be converted to a String",
        );
        check(
            r#"{"tags":{"a":1}}"#,
            "NUMBER_VALUE can not be converted to a String",
        );
        check("[]", STRUCTURE_EXPECTED);
        check("\"{}\"", STRUCTURE_EXPECTED);
    }

    #[test]
    fn hostile_documents_are_refused_not_followed() {
        check(r#"{"count":1e999}"#, "number out of range");
        check("\u{feff}{}", "expected value");
        check(r#"{"text":"\ud800"}"#, "unexpected end of hex escape");
        check(r#"{"text":"a","text":"b"}"#, "duplicate field `text`");
        check(r#"{"tags":{"a":"1","a":"2"}}"#, "duplicate key `a`");
        check(r#"{"text":"a"} x"#, "trailing characters");
        check(r#"{"text":"#, "EOF while parsing");
        let deep = format!(r#"{{"text":{}"#, "[".repeat(1_000_000));
        check(&deep, LIST_FOUND);
        let deep = format!(r#"{{"unknown":{}"#, "[".repeat(1_000_000));
        check(&deep, "EOF while parsing");
        let deep = "[".repeat(1_000_000);
        check(&deep, "EOF while parsing");
        assert!(read::<Sample>(b"{\"text\":\"\xff\"}").is_err());
    }

    #[test]
    fn absence_null_and_unknown_members_are_no_error() {
        assert_eq!(read::<Sample>(b"").unwrap(), Sample::default());
        assert_eq!(read::<Sample>(b" \n").unwrap(), Sample::default());
        let deep = format!(
            r#"{{"text":null,"new":{}{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert_eq!(read::<Sample>(deep.as_bytes()).unwrap(), Sample::default());
        let read: Sample = read(br#"{"count":3.0,"blob":"AP8","inner":{"names":["a"]}}"#).unwrap();
        assert_eq!(read.count, Some(3));
        assert_eq!(read.blob.unwrap()[..], [0, 255]);
        assert_eq!(read.inner.unwrap().names.unwrap(), ["a"]);
    }
}
