//! The enumeration of all operations, served or not, and the path table of the REST protocol.

use std::fmt::Write;

use super::{Fault, Source, model::Http};

/// `wire::route::SEGMENTS_MAX`.
const SEGMENTS_MAX: usize = 10;

struct Route<'a> {
    operation: &'a str,
    method: &'a str,
    segments: Vec<&'a str>,
    query: Option<(&'a str, &'a str)>,
}

fn label(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

impl<'a> Route<'a> {
    fn read(operation: &'a str, http: &'a Http) -> Result<Self, Fault> {
        let (path, query) = match http.request_uri.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (http.request_uri.as_str(), None),
        };
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        if segments.len() > SEGMENTS_MAX || path.contains('+') {
            return Err(format!(
                "{operation}: a path this long, or a greedy label, is not known here"
            )
            .into());
        }
        let query = query
            .map(|query| {
                query
                    .split_once('=')
                    .ok_or(format!("{operation}: a query without value"))
            })
            .transpose()?;
        Ok(Route {
            operation,
            method: &http.method,
            segments,
            query,
        })
    }

    /// What is more particular is tried first: a query condition, then the number of literals.
    fn rank(&self) -> (bool, usize, usize) {
        let labels = self
            .segments
            .iter()
            .filter(|segment| label(segment).is_some())
            .count();
        (self.query.is_none(), labels, self.segments.len())
    }

    fn arm(&self) -> String {
        let mut pattern = Vec::new();
        let mut labels = Vec::new();
        for segment in &self.segments {
            match label(segment) {
                Some(name) => {
                    let bound = format!("l{}", labels.len());
                    labels.push(format!("({name:?}, {bound})"));
                    pattern.push(bound);
                }
                None => pattern.push(format!("{segment:?}")),
            }
        }
        let condition = match self.query {
            Some((name, value)) => format!(" if query_has(uri.query(), {name:?}, {value:?})"),
            None => String::new(),
        };
        format!(
            "({:?}, [{}]){condition} => (Operation::{}, Labels::new(&[{}])),\n",
            self.method,
            pattern.join(", "),
            self.operation,
            labels.join(", "),
        )
    }
}

pub(crate) fn write(source: &Source) -> Result<String, Fault> {
    let model = &source.model;
    let mut names: Vec<&str> = model.operations.iter().map(|(name, _)| name).collect();
    names.extend(model.others.iter().map(|(name, _)| name));
    names.sort_unstable();

    let rest = model.metadata.protocol == "rest-json";
    let mut out = String::new();
    if rest {
        out.push_str("use http::{Method, Uri};\n\nuse crate::route::{Labels, RouteMatch, SEGMENTS_MAX, query_has, segments};\n\n");
    }
    out.push_str("/// Every operation of the service, served or not.\n#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]\npub enum Operation {\n");
    for name in &names {
        writeln!(out, "/// `{name}`.\n{name},")?;
    }
    out.push_str(
        "}\n\nimpl Operation {\n/// All operations, by name.\npub const ALL: &[Operation] = &[\n",
    );
    for name in &names {
        writeln!(out, "Operation::{name},")?;
    }
    out.push_str("];\n\n/// The operation of this name.\npub fn from_name(name: &str) -> Option<Operation> {\nSome(match name {\n");
    for name in &names {
        writeln!(out, "{name:?} => Operation::{name},")?;
    }
    out.push_str("_ => return None,\n})\n}\n\n/// The operation's name in the service model.\npub fn name(self) -> &'static str {\nmatch self {\n");
    for name in &names {
        writeln!(out, "Operation::{name} => {name:?},")?;
    }
    out.push_str("}\n}\n\n/// Whether this crate has the operation in full; the others are known by name only.\npub fn is_served(self) -> bool {\nmatches!(self, ");
    let served: Vec<String> = model
        .operations
        .iter()
        .map(|(name, _)| format!("Operation::{name}"))
        .collect();
    writeln!(out, "{})\n}}", served.join(" | "))?;
    if rest {
        let mut routes = Vec::new();
        for (name, operation) in model.operations.iter() {
            routes.push(Route::read(name, &operation.http)?);
        }
        for (name, http) in model.others.iter() {
            routes.push(Route::read(name, http)?);
        }
        routes.sort_by_key(|route| (route.rank(), route.operation));
        out.push_str("\n/// The operation that a method and a path name, with the path's labels.\npub fn route(method: &Method, uri: &Uri) -> Option<RouteMatch<Operation>> {\nlet mut room = [\"\"; SEGMENTS_MAX];\nlet (operation, labels) = match (method.as_str(), segments(uri.path(), &mut room)?) {\n");
        for route in &routes {
            out.push_str(&route.arm());
        }
        out.push_str("_ => return None,\n};\nSome(RouteMatch { operation, labels })\n}\n");
    }
    out.push_str("}\n");
    Ok(out)
}
