//! akm's own format.
//!
//! ```json
//! {"format":"akm-export","version":1,"exported_at":"2026-01-31T12:00:00Z","keys":[
//! {"name":"openai/work","secret":"sk-…","categories":["prod"],"expires_at":"2027-01-31T23:59:59.000Z"}
//! ]}
//! ```
//!
//! A key has the fields of [`KeyRow`]. A version or field that this program does not know is refused: it may mean
//! something, like `use_only` does.

use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Parsed, misread};
use crate::error::{Error, Kind, Result};
use crate::protocol::KeyRow;

const NAME: &str = "akm-export";
const VERSION: u32 = 1;
pub(super) const END: &[u8] = b"\n]}\n";

/// How far into a file its name is looked for.
const HEAD: usize = 256;

pub(super) fn begin(now_ms: i64, out: &mut Zeroizing<Vec<u8>>) {
    let now = jiff::Timestamp::from_millisecond(now_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    out.extend_from_slice(
        format!(r#"{{"format":"{NAME}","version":{VERSION},"exported_at":"{now:.0}","keys":["#)
            .as_bytes(),
    );
}

/// Whether a JSON file says that it is one.
pub(super) fn is_ours(file: &[u8]) -> bool {
    let head = &file[..file.len().min(HEAD)];
    head.windows(NAME.len())
        .any(|bytes| bytes == NAME.as_bytes())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    version: u32,
    #[serde(default, rename = "exported_at")]
    _exported_at: serde::de::IgnoredAny,
    keys: Vec<KeyRow>,
}

/// Format and version alone: what else stands in another version is its own business.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

pub(super) fn parse(text: &str) -> Result<Parsed> {
    const FOREIGN: Error = Error::invalid("file", "the file is not an export of akm");
    let head: Head = serde_json::from_str(text)
        .map_err(|error| misread(&error, "the file is not an export of akm"))?;
    if head.format != NAME {
        return Err(FOREIGN);
    }
    if head.version != VERSION {
        return Err(Error::new(
            Kind::UnsupportedVersion,
            "the export has a version that this program does not know",
        )
        .with_field("file")
        .with_hint("read it with a newer akm"));
    }
    let file: File = serde_json::from_str(text)
        .map_err(|error| misread(&error, "a key in the file does not have its form"))?;
    if (file.format.as_str(), file.version) != (NAME, VERSION) {
        return Err(FOREIGN);
    }
    Ok(Parsed {
        keys: file.keys,
        ignored: 0,
    })
}
