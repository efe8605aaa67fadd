//! What routing yields, and the splitting of a path that generated tables match against.

use percent_encoding::percent_decode_str;

use crate::WireFault;

/// More segments than any path of a known model has; the generator checks it.
pub(crate) const SEGMENTS_MAX: usize = 10;

/// An operation with the labels of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch<O> {
    /// The operation that method and path name.
    pub operation: O,
    /// The path's labels, still percent-encoded.
    pub labels: Labels,
}

/// The variable segments of a path, by the name that the model gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Vec<(&'static str, String)>);

impl Labels {
    /// Labels as they stand in the path, still percent-encoded.
    pub fn new(labels: &[(&'static str, &str)]) -> Self {
        Labels(
            labels
                .iter()
                .map(|&(name, raw)| (name, raw.to_owned()))
                .collect(),
        )
    }

    /// The decoded label, if the path has it.
    ///
    /// Errors: bytes that are not UTF-8 once decoded.
    pub fn get(&self, name: &str) -> Result<Option<String>, WireFault> {
        let Some((_, raw)) = self.0.iter().find(|(known, _)| *known == name) else {
            return Ok(None);
        };
        match percent_decode_str(raw).decode_utf8() {
            Ok(text) => Ok(Some(text.into_owned())),
            Err(_) => Err(WireFault::Serialization(format!(
                "the path's {name} is not UTF-8 once percent-decoded"
            ))),
        }
    }
}

/// The segments of an absolute path, without the empty one that a trailing slash makes: the model's
/// paths had it until 2024 and older SDKs still send it. `None` if no model has a path that long.
pub(crate) fn segments<'a>(
    path: &'a str,
    room: &'a mut [&'a str; SEGMENTS_MAX],
) -> Option<&'a [&'a str]> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut count = 0;
    for segment in path.split('/') {
        *room.get_mut(count)? = segment;
        count += 1;
    }
    Some(&room[..count])
}

/// Whether the raw query has `name=value`, for the paths that a query parameter tells apart.
pub(crate) fn query_has(query: Option<&str>, name: &str, value: &str) -> bool {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .any(|(key, given)| key == name && given == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_percent_decoded_once() {
        let labels = Labels::new(&[("Resource", "arn%3Aaws%3Alambda%253A")]);
        assert_eq!(labels.get("Resource"), Ok(Some("arn:aws:lambda%3A".into())));
        assert_eq!(labels.get("Other"), Ok(None));
    }

    #[test]
    fn a_label_that_is_not_utf8_is_named() {
        let fault = Labels::new(&[("FunctionName", "%ff")]).get("FunctionName");
        assert!(
            matches!(fault, Err(WireFault::Serialization(text)) if text.contains("FunctionName"))
        );
    }

    #[test]
    fn a_path_longer_than_any_model_has_is_no_route() {
        let mut room = [""; SEGMENTS_MAX];
        assert_eq!(segments(&"/a".repeat(SEGMENTS_MAX + 1), &mut room), None);
        let mut room = [""; SEGMENTS_MAX];
        assert_eq!(segments("/a/b/", &mut room), Some(&["a", "b"][..]));
    }
}
