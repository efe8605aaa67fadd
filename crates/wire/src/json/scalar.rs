//! Strings, numbers, booleans and blobs, and the service's words for a value of another type.

use std::{fmt, marker::PhantomData};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use serde::{
    Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};

use super::{LIST_FOUND, STRUCTURE_FOUND};

/// SDKs pad; some hand-written clients do not. Both mean the same bytes.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A type with the service's name for it, read by [`scalar`].
pub(crate) trait Scalar: Sized {
    const NAME: &'static str;
    fn from_str(_: &str) -> Option<Result<Self, String>> {
        None
    }
    fn from_i64(_: i64) -> Option<Self> {
        None
    }
    fn from_f64(_: f64) -> Option<Self> {
        None
    }
    fn from_bool(_: bool) -> Option<Self> {
        None
    }
}

impl Scalar for String {
    const NAME: &'static str = "a String";
    fn from_str(text: &str) -> Option<Result<Self, String>> {
        Some(Ok(text.to_owned()))
    }
}

impl Scalar for Bytes {
    const NAME: &'static str = "a Blob";
    fn from_str(text: &str) -> Option<Result<Self, String>> {
        Some(match BASE64.decode(text) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) => Err(format!("Unable to decode base64 content: {error}")),
        })
    }
}

impl Scalar for bool {
    const NAME: &'static str = "a Boolean";
    fn from_bool(value: bool) -> Option<Self> {
        Some(value)
    }
}

impl Scalar for i32 {
    const NAME: &'static str = "an Integer";
    fn from_i64(value: i64) -> Option<Self> {
        value.try_into().ok()
    }
    fn from_f64(value: f64) -> Option<Self> {
        // A whole number may be written 3.0 or 3e2; the cast is exact inside the range checked.
        let whole = value.fract() == 0.0 && value.abs() <= f64::from(i32::MAX);
        whole.then_some(value as i32)
    }
}

impl Scalar for i64 {
    const NAME: &'static str = "a Long";
    fn from_i64(value: i64) -> Option<Self> {
        Some(value)
    }
    fn from_f64(value: f64) -> Option<Self> {
        // 2^53: up to here every whole f64 is the number that was written.
        let whole = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
        whole.then_some(value as i64)
    }
}

impl Scalar for f64 {
    const NAME: &'static str = "a Double";
    fn from_i64(value: i64) -> Option<Self> {
        Some(value as f64)
    }
    fn from_f64(value: f64) -> Option<Self> {
        Some(value)
    }
}

struct ScalarVisitor<T>(PhantomData<T>);

fn refused<E: de::Error, T: Scalar>(token: &str) -> E {
    E::custom(format_args!("{token} can not be converted to {}", T::NAME))
}

impl<'de, T: Scalar> Visitor<'de> for ScalarVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(T::NAME)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        match T::from_str(text) {
            Some(read) => read.map(Some).map_err(E::custom),
            None => Err(refused::<E, T>("STRING_VALUE")),
        }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        T::from_i64(value)
            .map(Some)
            .ok_or_else(|| refused::<E, T>("NUMBER_VALUE"))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        let value = i64::try_from(value).ok().and_then(T::from_i64);
        value
            .map(Some)
            .ok_or_else(|| refused::<E, T>("NUMBER_VALUE"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        T::from_f64(value)
            .map(Some)
            .ok_or_else(|| refused::<E, T>("NUMBER_VALUE"))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        let token = if value { "TRUE_VALUE" } else { "FALSE_VALUE" };
        T::from_bool(value)
            .map(Some)
            .ok_or_else(|| refused::<E, T>(token))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(de::Error::custom(STRUCTURE_FOUND))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(de::Error::custom(LIST_FOUND))
    }
}

/// A string, number, boolean or blob; null is absence.
pub(crate) fn scalar<'de, T: Scalar, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    from.deserialize_any(ScalarVisitor(PhantomData))
}
