//! The layout of the journal's bytes: a header, then one record per event.
//!
//! ```text
//! header  "akm-jrnl" ‖ version u32 ‖ segment u64 ‖ vault 16 ‖ crc32 of these
//! record  "\xa4KMe" ‖ length u32 ‖ crc32 of length and payload ‖ payload
//! payload chain 16 ‖ seq u64 ‖ time i64 ‖ action u8+text ‖ outcome u8+text ‖ record u8(0|1)+16 ‖ sealed u32+bytes ‖ mac 32
//! ```
//!
//! Little-endian. The checksum is no protection (the MAC inside is): it tells a write that power loss cut
//! off from one that was whole. Every payload has exactly one encoding; nothing is skipped or ignored.

use crate::error::{Error, Kind, Result};
use crate::store::{EventRow, Id, Tag};

use super::chain::Entry;
use super::event;

/// Opens every journal segment.
const FILE_MAGIC: &[u8; 8] = b"akm-jrnl";
const VERSION: u32 = 1;
/// Length of a segment's header.
pub(super) const HEADER: usize = 8 + 4 + 8 + 16 + 4;
/// Where the header's checksum stands.
const HEADER_CHECK: usize = HEADER - 4;

/// Opens every record, so that reading can go on behind a damaged one.
pub(super) const MAGIC: [u8; 4] = *b"\xa4KMe";
/// Magic, length and checksum in front of a payload.
pub(super) const PREFIX: usize = 4 + 4 + 4;
/// Longest name of an action or outcome.
const MAX_TOKEN: usize = 64;
/// Longest sealed part: the longest detail, and room for what sealing adds.
pub(super) const MAX_SEALED: usize = event::MAX_DETAIL + 256;
/// Positions in a chain, as far as a store's signed numbers go.
pub(super) const SEQS: std::ops::RangeInclusive<u64> = 1..=i64::MAX as u64;
const MIN_PAYLOAD: usize = 16 + 8 + 8 + 1 + 1 + 1 + 4 + 32;
const MAX_PAYLOAD: usize = MIN_PAYLOAD + 2 * MAX_TOKEN + 16 + MAX_SEALED;
/// Longest record, prefix included.
pub(super) const MAX_RECORD: usize = PREFIX + MAX_PAYLOAD;

/// A segment's header.
pub(super) fn encode_header(segment: u64, vault: &Id) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(FILE_MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..20].copy_from_slice(&segment.to_le_bytes());
    out[20..HEADER_CHECK].copy_from_slice(vault);
    let check = crc32(&out[..HEADER_CHECK]);
    out[HEADER_CHECK..].copy_from_slice(&check.to_le_bytes());
    out
}

/// The segment number and the vault in a header, or `None` if these bytes are none. A version that this program does
/// not know is refused: its records may mean something else.
pub(super) fn decode_header(bytes: &[u8; HEADER]) -> Result<Option<(u64, Id)>> {
    let (magic, rest) = bytes.split_at(8);
    if magic != FILE_MAGIC {
        return Ok(None);
    }
    let word = |at: usize| rest[at..].first_chunk().copied().unwrap_or_default();
    if u32::from_le_bytes(word(0)) != VERSION {
        return Err(Error::new(
            Kind::UnsupportedVersion,
            "the audit journal has a version that this program does not know",
        ));
    }
    if u32::from_le_bytes(word(HEADER_CHECK - 8)) != crc32(&bytes[..HEADER_CHECK]) {
        return Ok(None);
    }
    let low = u64::from(u32::from_le_bytes(word(4)));
    let high = u64::from(u32::from_le_bytes(word(8)));
    let vault = rest[12..].first_chunk().copied().unwrap_or_default();
    Ok(Some((high << 32 | low, vault)))
}

/// Writes one record into `out`, replacing what is there.
pub(super) fn encode(entry: &Entry<'_>, mac: &Tag, out: &mut Vec<u8>) -> Result<()> {
    const TOO_LONG: Error = Error::internal("an audit event is too long for the journal");
    if entry.action.len() > MAX_TOKEN
        || entry.outcome.len() > MAX_TOKEN
        || entry.sealed.len() > MAX_SEALED
    {
        return Err(TOO_LONG);
    }
    out.clear();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(entry.chain);
    out.extend_from_slice(&entry.seq.to_le_bytes());
    out.extend_from_slice(&entry.time.to_le_bytes());
    for text in [entry.action, entry.outcome] {
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    }
    match entry.record {
        Some(record) => {
            out.push(1);
            out.extend_from_slice(record);
        }
        None => out.push(0),
    }
    out.extend_from_slice(&(entry.sealed.len() as u32).to_le_bytes());
    out.extend_from_slice(entry.sealed);
    out.extend_from_slice(mac);
    let len = ((out.len() - PREFIX) as u32).to_le_bytes();
    out[4..8].copy_from_slice(&len);
    let check = checksum(&len, &out[PREFIX..]);
    out[8..12].copy_from_slice(&check.to_le_bytes());
    Ok(())
}

/// What stands at the front of some bytes of a journal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// A whole record of this length.
    Record(EventRow, usize),
    /// No whole record. Where the bytes have the shape of one all the same, the chain and position it claims.
    Damaged(Option<(Id, u64)>),
}

/// Reads the record at the front of `bytes`, which hold at least [`MAX_RECORD`] or all that is left.
pub(super) fn decode(bytes: &[u8]) -> Front {
    let Some((len, check, rest)) = prefix(bytes) else {
        return Front::Damaged(None);
    };
    let Some(payload) = rest.get(..len) else {
        return Front::Damaged(None);
    };
    match payload_row(payload) {
        Some(row) if checksum(&(len as u32).to_le_bytes(), payload) == check => {
            Front::Record(row, PREFIX + len)
        }
        Some(row) => Front::Damaged(Some((row.chain, row.seq))),
        None => Front::Damaged(None),
    }
}

fn prefix(bytes: &[u8]) -> Option<(usize, u32, &[u8])> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let (len, rest) = rest.split_first_chunk()?;
    let (check, rest) = rest.split_first_chunk()?;
    let len = u32::from_le_bytes(*len) as usize;
    (MIN_PAYLOAD..=MAX_PAYLOAD)
        .contains(&len)
        .then_some((len, u32::from_le_bytes(*check), rest))
}

fn payload_row(payload: &[u8]) -> Option<EventRow> {
    let (chain, rest) = payload.split_first_chunk()?;
    let (seq, rest) = rest.split_first_chunk()?;
    let (time, rest) = rest.split_first_chunk()?;
    let (action, rest) = token(rest)?;
    let (outcome, rest) = token(rest)?;
    let (&has_record, rest) = rest.split_first()?;
    let (record, rest) = match has_record {
        0 => (None, rest),
        1 => rest
            .split_first_chunk()
            .map(|(record, rest)| (Some(*record), rest))?,
        _ => return None,
    };
    let (len, rest) = rest.split_first_chunk()?;
    let (sealed, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let mac = rest.try_into().ok()?;
    // A position that no store could hold would keep the whole segment from being folded.
    let seq = u64::from_le_bytes(*seq);
    if !SEQS.contains(&seq) {
        return None;
    }
    Some(EventRow {
        chain: *chain,
        seq,
        time: i64::from_le_bytes(*time),
        action: action.to_owned(),
        outcome: outcome.to_owned(),
        record,
        sealed: sealed.to_owned(),
        mac,
    })
}

fn token(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(len))?;
    (text.len() <= MAX_TOKEN)
        .then(|| std::str::from_utf8(text).ok())
        .flatten()
        .map(|text| (text, rest))
}

fn checksum(len: &[u8; 4], payload: &[u8]) -> u32 {
    !crc(crc(!0, len), payload)
}

fn crc32(bytes: &[u8]) -> u32 {
    !crc(!0, bytes)
}

/// CRC-32 (IEEE 802.3), eight bytes a step: a record takes a few hundred nanoseconds.
fn crc(mut state: u32, bytes: &[u8]) -> u32 {
    let (steps, rest) = bytes.as_chunks::<8>();
    for step in steps {
        let [a, b, c, d] = (state ^ u32::from_le_bytes([step[0], step[1], step[2], step[3]]))
            .to_le_bytes()
            .map(usize::from);
        let [e, f, g, h] = [step[4], step[5], step[6], step[7]].map(usize::from);
        state = CRC[7][a]
            ^ CRC[6][b]
            ^ CRC[5][c]
            ^ CRC[4][d]
            ^ CRC[3][e]
            ^ CRC[2][f]
            ^ CRC[1][g]
            ^ CRC[0][h];
    }
    for byte in rest {
        state = CRC[0][((state ^ u32::from(*byte)) & 0xff) as usize] ^ (state >> 8);
    }
    state
}

static CRC: [[u32; 256]; 8] = {
    let mut tables = [[0_u32; 256]; 8];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ (0xedb8_8320 & (value & 1).wrapping_neg());
            bit += 1;
        }
        tables[0][index] = value;
        index += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut index = 0;
        while index < 256 {
            let before = tables[table - 1][index];
            tables[table][index] = tables[0][(before & 0xff) as usize] ^ (before >> 8);
            index += 1;
        }
        table += 1;
    }
    tables
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_checksum_is_crc32() {
        // The check value of CRC-32/ISO-HDLC, and of a text that takes the eight-byte steps.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(
            crc32(b"The quick brown fox jumps over the lazy dog"),
            0x414f_a339
        );
    }

    #[test]
    fn a_header_comes_back_and_another_version_is_refused() {
        let vault = [3; 16];
        let header = encode_header(u64::MAX - 7, &vault);
        assert_eq!(decode_header(&header).unwrap(), Some((u64::MAX - 7, vault)));
        let mut newer = header;
        newer[8] = 2;
        assert_eq!(
            decode_header(&newer).unwrap_err().kind(),
            Kind::UnsupportedVersion
        );
        for at in (0..8).chain(12..HEADER) {
            let mut bad = header;
            bad[at] ^= 1;
            assert_eq!(decode_header(&bad).unwrap(), None, "byte {at}");
        }
    }

    fn rows() -> impl Strategy<Value = EventRow> {
        (
            any::<Id>(),
            SEQS,
            any::<i64>(),
            "[a-z.]{0,64}",
            "[a-z_]{0,64}",
            any::<Option<Id>>(),
            proptest::collection::vec(any::<u8>(), 0..600),
            any::<Tag>(),
        )
            .prop_map(|(chain, seq, time, action, outcome, record, sealed, mac)| {
                EventRow {
                    chain,
                    seq,
                    time,
                    action,
                    outcome,
                    record,
                    sealed,
                    mac,
                }
            })
    }

    proptest! {
        #[test]
        fn a_record_comes_back_and_no_cut_of_it_does(row in rows(), tail in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut bytes = Vec::new();
            encode(&Entry::from(&row), &row.mac, &mut bytes).unwrap();
            let len = bytes.len();
            prop_assert!(len <= MAX_RECORD);
            for cut in 0..len {
                prop_assert!(matches!(decode(&bytes[..cut]), Front::Damaged(_)), "cut at {}", cut);
            }
            bytes.extend_from_slice(&tail);
            prop_assert_eq!(decode(&bytes), Front::Record(row, len));
        }

        #[test]
        fn a_flipped_bit_is_damage(row in rows(), at: prop::sample::Index, bit in 0..8_u8) {
            let mut bytes = Vec::new();
            encode(&Entry::from(&row), &row.mac, &mut bytes).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(matches!(decode(&bytes), Front::Damaged(_)));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(matches!(decode(&bytes), Front::Damaged(_)));
            // With a plausible prefix, so that the payload's reader is reached.
            let mut framed = MAGIC.to_vec();
            let len = (bytes.len() as u32).to_le_bytes();
            framed.extend_from_slice(&len);
            framed.extend_from_slice(&checksum(&len, &bytes).to_le_bytes());
            framed.extend_from_slice(&bytes);
            let _ = decode(&framed);
        }

        #[test]
        fn arbitrary_headers_never_panic(bytes: [u8; HEADER]) {
            let _ = decode_header(&bytes);
        }
    }
}
