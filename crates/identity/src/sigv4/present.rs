//! What a request says of its signer, before anything of it is believed.

use super::{AuthError, EXPIRES_MAX_S, SIGNED_HEADERS_MAX};
use http::request::Parts;
use percent_encoding::percent_decode_str;
use std::fmt;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A time as signatures write it, `20261121T020000Z`; the seconds since the epoch beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since the epoch.
    pub seconds: i64,
    text: String,
}

impl Timestamp {
    /// Reads `yyyymmddThhmmssZ`.
    pub fn parse(text: &str) -> Option<Self> {
        let parsed = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
        (text.len() == 16).then_some(())?;
        let seconds = parsed
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp()
            .as_second();
        Some(Self {
            seconds,
            text: text.to_owned(),
        })
    }
    /// Reads what may stand in a `Date` header: the basic form, or a date of HTTP,
    /// `Mon, 09 Sep 2011 23:36:00 GMT`.
    ///
    /// Source: AWS General Reference, "Elements of an AWS API request signature": without
    /// `X-Amz-Date`, the time is that of `Date`.
    pub fn parse_date(text: &str) -> Option<Self> {
        if let Some(basic) = Self::parse(text) {
            return Some(basic);
        }
        // The day of the week is decoration and may be wrong: RFC 9110 lets a recipient ignore it.
        let (_, rest) = text.split_once(", ")?;
        let parsed = jiff::civil::DateTime::strptime("%d %b %Y %H:%M:%S GMT", rest).ok()?;
        let at = parsed.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(Self::from_seconds(at.timestamp().as_second()))
    }
    /// From seconds since the epoch.
    pub fn from_seconds(seconds: i64) -> Self {
        let at = jiff::Timestamp::from_second(seconds).unwrap_or_default();
        Self {
            seconds,
            text: at.strftime("%Y%m%dT%H%M%SZ").to_string(),
        }
    }
    /// `yyyymmddThhmmssZ`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// `yyyymmdd`.
    pub fn day(&self) -> &str {
        &self.text[..8]
    }
}
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where the signature stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// The Authorization header.
    Header,
    /// The query: presigned, valid for this many seconds.
    Query {
        /// X-Amz-Expires.
        expires_s: u32,
    },
}

/// The claims of a signed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// Who says so.
    pub access_key_id: String,
    /// The scope's date, `yyyymmdd`.
    pub day: String,
    /// The scope's region.
    pub region: String,
    /// The scope's service.
    pub service: String,
    /// Names of the signed headers, lower-case, sorted.
    pub signed_headers: Vec<String>,
    /// The signature, hexadecimal as it came.
    pub signature: String,
    /// When it was signed.
    pub signed: Timestamp,
    /// The session's token.
    pub token: Option<String>,
    /// Where it stood.
    pub location: Location,
}

impl Presented {
    /// Reads the claims; `None` for a request that is not signed at all.
    ///
    /// Errors: [`AuthError::Incomplete`] and [`AuthError::BadDate`], which name what is wrong.
    pub fn read(parts: &Parts) -> Result<Option<Self>, AuthError> {
        let mut given = parts.headers.get_all(http::header::AUTHORIZATION).iter();
        if let Some(value) = given.next() {
            // Which of two would count is a guess that somebody in between may make otherwise.
            if given.next().is_some() {
                return Err(incomplete("more than one Authorization header"));
            }
            let value = value
                .to_str()
                .map_err(|_| incomplete("Authorization is not text"))?;
            return from_header(value, parts).map(Some);
        }
        let query = parts.uri.query().unwrap_or("");
        if query.contains("X-Amz-Signature=") || query.contains("X-Amz-Algorithm=") {
            return from_query(query).map(Some);
        }
        Ok(None)
    }
}

fn incomplete(reason: impl Into<String>) -> AuthError {
    AuthError::Incomplete {
        reason: reason.into(),
    }
}

fn bad_date(value: &str) -> AuthError {
    AuthError::BadDate {
        value: value.chars().take(64).collect(),
    }
}

fn from_header(value: &str, parts: &Parts) -> Result<Presented, AuthError> {
    let (algorithm, fields) = value.split_once(' ').unwrap_or((value, ""));
    if algorithm != ALGORITHM {
        return Err(incomplete(format!(
            "unsupported algorithm {:?}",
            algorithm.chars().take(32).collect::<String>()
        )));
    }
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for field in fields.split(',') {
        match field.trim().split_once('=') {
            Some(("Credential", text)) => credential = Some(text),
            Some(("SignedHeaders", text)) => signed_headers = Some(text),
            Some(("Signature", text)) => signature = Some(text),
            _ => {
                return Err(incomplete(
                    "Authorization has a field that is none of Credential, SignedHeaders, Signature",
                ));
            }
        }
    }
    let missing =
        |name: &str| incomplete(format!("Authorization header requires '{name}' parameter."));
    let credential = credential.ok_or_else(|| missing("Credential"))?;
    let signature = signature.ok_or_else(|| missing("Signature"))?;
    let signed_headers = signed_headers.ok_or_else(|| missing("SignedHeaders"))?;
    let text_of = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    // `X-Amz-Date` counts where both stand, and what counts must be signed.
    let (date_name, date) = ["x-amz-date", "date"]
        .into_iter()
        .find_map(|name| Some((name, text_of(name)?)))
        .ok_or_else(|| {
            incomplete(
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
            )
        })?;
    let time = match date_name {
        "date" => Timestamp::parse_date(date),
        _ => Timestamp::parse(date),
    };
    let signed = time.ok_or_else(|| bad_date(date))?;
    let mut presented = claims(credential, signed_headers, signature, signed)?;
    presented.token = text_of("x-amz-security-token").map(str::to_owned);
    let is_signed = |name: &str| presented.signed_headers.iter().any(|one| one == name);
    if !is_signed(date_name) {
        return Err(incomplete(format!("'{date_name}' must be a signed header")));
    }
    if presented.token.is_some() && !is_signed("x-amz-security-token") {
        return Err(incomplete("'x-amz-security-token' must be a signed header"));
    }
    Ok(presented)
}

fn from_query(query: &str) -> Result<Presented, AuthError> {
    let mut found: [Option<String>; 7] = Default::default();
    const NAMES: [&str; 7] = [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
    ];
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let Some(at) = NAMES.iter().position(|known| *known == name) {
            if found[at].is_some() {
                return Err(incomplete(format!("{name} stands twice in the query")));
            }
            let text = percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| incomplete(format!("{name} is not text")))?;
            found[at] = Some(text.into_owned());
        }
    }
    let [
        algorithm,
        credential,
        date,
        expires,
        signed_headers,
        signature,
        token,
    ] = found;
    let need = |value: Option<String>, name: &str| {
        value.ok_or_else(|| incomplete(format!("the query requires '{name}'")))
    };
    if need(algorithm, NAMES[0])? != ALGORITHM {
        return Err(incomplete("unsupported algorithm"));
    }
    let expires = need(expires, NAMES[3])?;
    let expires_s = expires
        .parse()
        .ok()
        .filter(|s| *s <= EXPIRES_MAX_S)
        .ok_or_else(|| incomplete("X-Amz-Expires must be a number of seconds up to a week"))?;
    let date = need(date, NAMES[2])?;
    let mut presented = claims(
        &need(credential, NAMES[1])?,
        &need(signed_headers, NAMES[4])?,
        &need(signature, NAMES[5])?,
        Timestamp::parse(&date).ok_or_else(|| bad_date(&date))?,
    )?;
    presented.token = token;
    presented.location = Location::Query { expires_s };
    Ok(presented)
}

fn claims(
    credential: &str,
    signed_headers: &str,
    signature: &str,
    signed: Timestamp,
) -> Result<Presented, AuthError> {
    let scope: Vec<&str> = credential.split('/').collect();
    let [key, day, region, service, "aws4_request"] = scope[..] else {
        return Err(incomplete(
            "Credential must be of the form key/yyyymmdd/region/service/aws4_request",
        ));
    };
    let names: Vec<String> = signed_headers
        .split(';')
        .map(str::to_ascii_lowercase)
        .collect();
    if names.len() > SIGNED_HEADERS_MAX || names.iter().any(|name| name.is_empty()) {
        return Err(incomplete(format!(
            "SignedHeaders must name 1 to {SIGNED_HEADERS_MAX} headers"
        )));
    }
    if !names.is_sorted() {
        return Err(incomplete("SignedHeaders must be sorted"));
    }
    if !names.iter().any(|name| name == "host") {
        return Err(incomplete("'Host' must be a signed header"));
    }
    Ok(Presented {
        access_key_id: key.to_owned(),
        day: day.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        signed_headers: names,
        signature: signature.to_owned(),
        signed,
        token: None,
        location: Location::Header,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    const SCOPE: &str = "AKID/20110909/us-east-1/lambda/aws4_request";

    fn read(signed: &str, headers: &[(&str, &str)]) -> Result<i64, AuthError> {
        let value = format!("{ALGORITHM} Credential={SCOPE}, SignedHeaders={signed}, Signature=00");
        let mut request = Request::builder().header("authorization", value);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        Presented::read(&parts).map(|found| found.unwrap().signed.seconds)
    }

    #[test]
    fn the_time_is_that_of_x_amz_date_else_of_date() {
        const BASIC: &str = "20110909T233600Z";
        const HTTP: &str = "Fri, 09 Sep 2011 23:36:00 GMT";
        const AT: i64 = 1_315_611_360;
        let date = |value| read("date;host", &[("date", value)]);
        assert_eq!(read("host;x-amz-date", &[("x-amz-date", BASIC)]), Ok(AT));
        assert_eq!((date(BASIC), date(HTTP)), (Ok(AT), Ok(AT)));
        let both = [
            ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("x-amz-date", BASIC),
        ];
        assert_eq!(read("host;x-amz-date", &both), Ok(AT));
        for wrong in [
            "",
            "2011",
            "Fri, 09 Sep 2011",
            "Fri, 09 Sep 2011 23:36:00 +0100",
        ] {
            assert!(
                matches!(date(wrong), Err(AuthError::BadDate { .. })),
                "{wrong}"
            );
        }
        let http_form = read("host;x-amz-date", &[("x-amz-date", HTTP)]);
        assert!(matches!(http_form, Err(AuthError::BadDate { .. })));
    }

    #[test]
    fn what_gives_the_time_is_signed() {
        let unsigned = |signed, headers: &[(&str, &str)]| {
            assert!(
                matches!(read(signed, headers), Err(AuthError::Incomplete { .. })),
                "{signed} {headers:?}"
            );
        };
        unsigned("host", &[]);
        unsigned("host", &[("x-amz-date", "20110909T233600Z")]);
        unsigned("host", &[("date", "20110909T233600Z")]);
        // A signed Date does not make an unsigned X-Amz-Date believed.
        let both = [
            ("date", "20110909T233600Z"),
            ("x-amz-date", "20110909T233600Z"),
        ];
        unsigned("date;host", &both);
    }
}
