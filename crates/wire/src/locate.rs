//! Values that travel outside the body: query parameters and headers, in and out.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::{WireFault, error::header_value};

/// Parameters that one request may carry. AWS has no operation with more than a few; the limit
/// bounds the work that a long query string can ask for.
const PARAMETERS_MAX: usize = 1_000;

/// The decoded query string, or form body, of one request.
#[derive(Debug)]
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub(crate) fn read(raw: Option<&'a str>) -> Result<Self, WireFault> {
        Self::read_bytes(raw.unwrap_or_default().as_bytes())
    }

    pub(crate) fn read_bytes(raw: &'a [u8]) -> Result<Self, WireFault> {
        let pairs: Vec<_> = form_urlencoded::parse(raw)
            .take(PARAMETERS_MAX + 1)
            .collect();
        if pairs.len() > PARAMETERS_MAX {
            return Err(WireFault::Serialization(format!(
                "the request has more than {PARAMETERS_MAX} parameters"
            )));
        }
        Ok(Query(pairs))
    }

    /// The first value of `name`.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        Some(value)
    }

    pub(crate) fn string(&self, name: &str) -> Option<String> {
        self.one(name).map(str::to_owned)
    }

    /// Every value of `name`; `None` if it is absent, which is not the same as empty.
    pub(crate) fn strings(&self, name: &str) -> Option<Vec<String>> {
        let values: Vec<String> = self
            .0
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.to_string())
            .collect();
        (!values.is_empty()).then_some(values)
    }

    pub(crate) fn integer(&self, name: &str) -> Result<Option<i32>, WireFault> {
        self.one(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    WireFault::Serialization(format!("the query's {name} is not an Integer"))
                })
            })
            .transpose()
    }
}

/// A header as text. Header values are bytes; what is not UTF-8 is refused by name.
pub(crate) fn header_text(headers: &HeaderMap, name: &str) -> Result<Option<String>, WireFault> {
    headers
        .get(name)
        .map(|value| match std::str::from_utf8(value.as_bytes()) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(WireFault::Serialization(format!(
                "the header {name} is not UTF-8"
            ))),
        })
        .transpose()
}

/// An answer with what every answer carries.
pub(crate) fn answer(
    status: impl TryInto<u16>,
    kind: &'static str,
    body: Bytes,
    request_id: &str,
) -> Response<Bytes> {
    let status = status
        .try_into()
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok());
    let mut answer = Response::new(body);
    *answer.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert("x-amzn-requestid", header_value(request_id));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_parameters_are_a_list_and_absence_is_not_an_empty_one() {
        let query = Query::read(Some("tagKeys=a+b&tagKeys=c%3D&x")).unwrap();
        assert_eq!(
            query.strings("tagKeys"),
            Some(vec!["a b".into(), "c=".into()])
        );
        assert_eq!(query.strings("none"), None);
        assert_eq!(query.one("x"), Some(""));
    }

    #[test]
    fn a_number_that_is_none_and_too_many_parameters_are_refused() {
        let query = Query::read(Some("MaxItems=ten")).unwrap();
        assert!(query.integer("MaxItems").is_err());
        assert!(Query::read(Some(&"a&".repeat(PARAMETERS_MAX))).is_ok());
        assert!(Query::read(Some(&"a&".repeat(PARAMETERS_MAX + 1))).is_err());
    }
}
