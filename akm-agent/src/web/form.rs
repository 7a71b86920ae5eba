//! Fields of a form or of an address.
//!
//! Bounds are those of the body and the head that it came in. A field that stands twice counts once, its first.

use akm_core::Secret;
use akm_core::error::{Error, Result};
use zeroize::Zeroizing;

/// Fields, in the order they were sent.
#[derive(Default)]
pub(crate) struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    /// Takes `a=b&c=d` apart.
    pub(crate) fn parse(encoded: &[u8]) -> Form {
        let fields = form_urlencoded::parse(encoded);
        Form(
            fields
                .map(|(name, value)| (name.into_owned(), Zeroizing::new(value.into_owned())))
                .collect(),
        )
    }

    /// The field as it was sent.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|(field, _)| field == name);
        field.map(|(_, value)| value.as_str())
    }

    /// The field without the blanks around it; nothing if that leaves nothing.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.raw(name)
            .map(str::trim)
            .filter(|value| !value.is_empty())
    }

    /// As [`Form::get`], as a text of one's own.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// A number; an empty field is none, and one that is no number is refused.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &'static str) -> Result<Option<T>> {
        let parsed = self.get(name).map(str::parse).transpose();
        parsed.map_err(|_| Error::invalid(name, "a field has the wrong type"))
    }

    /// What stands in a field of a text area: browsers end its lines with CR LF.
    pub(crate) fn lines(&self, name: &str) -> Option<String> {
        self.get(name).map(|text| text.replace("\r\n", "\n"))
    }

    /// The field as a secret, to the byte; an empty one is none.
    pub(crate) fn secret(&self, name: &str) -> Option<Secret> {
        self.raw(name)
            .filter(|value| !value.is_empty())
            .map(|value| Secret::new(value.to_owned()))
    }

    /// As [`Form::secret`], where the operation cannot do without.
    pub(crate) fn needed(&self, name: &'static str) -> Result<Secret> {
        self.secret(name)
            .ok_or_else(|| Error::invalid(name, "a required field is missing"))
    }

    /// Whether a box is ticked.
    pub(crate) fn ticked(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }
}

/// `a, b、c` as a list.
pub(crate) fn list(text: &str) -> Vec<String> {
    text.split([',', '，', '、'])
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A query that carries these fields, with its question mark; empty without any.
pub(crate) fn query(fields: &[(&str, &str)]) -> String {
    let mut out = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        out.append_pair(name, value);
    }
    match out.finish() {
        query if query.is_empty() => query,
        query => format!("?{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_out_as_they_were_typed() {
        let form = Form::parse("a=1&b=+x%20&a=2&empty=&s=+p%26q+&n=x%0D%0Ay".as_bytes());
        assert_eq!(form.get("a"), Some("1"));
        assert_eq!(form.get("b"), Some("x"));
        assert_eq!((form.get("empty"), form.get("none")), (None, None));
        assert_eq!(form.secret("s").unwrap().expose(), " p&q ");
        assert_eq!(form.lines("n").as_deref(), Some("x\ny"));
        assert!(form.ticked("empty") && !form.ticked("none"));
        assert_eq!(list("a, b，,c、d "), ["a", "b", "c", "d"]);
        assert_eq!(query(&[("name", "a/b&c"), ("x", "")]), "?name=a%2Fb%26c");
        assert_eq!(query(&[]), "");
    }
}
