//! A hand-over: all keys of an account, sealed for an account of another vault.
//!
//! ```text
//! code  = "akm-receive-1." ‖ base64url(public key (32) ‖ SHA-256("code", public key)[..4])
//! piece = first:  version (1) ‖ id (16) ‖ one-time public key (32) ‖ blob        others: blob
//! blob  = seal(key, field ‖ id ‖ number ‖ whether it is the last, padded JSON)
//! id    = SHA-256("handover", public key)[..16]
//! key, checksum key = subkeys of HMAC-SHA256("akm/v1/handover", X25519(…) ‖ version ‖ id ‖ one-time public key ‖ public key)
//! checksum = HMAC(checksum key, mark₁ ‖ mark₂ ‖ …)       markₙ = HMAC(checksum key, key n as JSON)
//! ```
//!
//! RFC 7748, RFC 2104. The private key of a code exists in one session and nowhere else, so neither those who run one of the
//! servers nor those who carry the pieces can open them at rest or later; and only who was given the code can make
//! some. Pieces are numbered and the last is marked: none is left out, put twice, put elsewhere or cut off unnoticed.
//!
//! Deliberately absent: the account's passphrase, codes and audit. They stay where they are, and so do replaced secrets.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::{self, Ad, Field};
use crate::error::{Error, Result};
use crate::host::Random;
use crate::memory::LockedKey;
use crate::protocol::{KeyRow, encode};
use crate::store::Id;

const PREFIX: &str = "akm-receive-1.";
const VERSION: u8 = 1;
const CHECK: usize = 4;
const HEAD: usize = 1 + 16 + 32;
const BUCKET: usize = 4096;
/// Numbers of the pieces; more is none of ours.
const MORE: u64 = 1;
const LAST: u64 = 2;

/// What a checksum is made of for each key.
pub(crate) type Mark = [u8; 32];

/// The public key of a code.
#[derive(Clone, Copy)]
pub(crate) struct Code([u8; 32]);

impl Code {
    /// Reads what somebody typed.
    pub(crate) fn parse(text: &str) -> Result<Code> {
        const BAD: Error = Error::invalid("code", "it is not a code to receive with");
        let text = text.trim().strip_prefix(PREFIX).ok_or(BAD)?;
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| BAD)?;
        let (public, check) = bytes.split_first_chunk::<32>().ok_or(BAD)?;
        let code = Code(*public);
        match check == code.check() {
            true => Ok(code),
            false => Err(BAD),
        }
    }

    /// As it is typed.
    pub(crate) fn text(&self) -> String {
        let bytes = [&self.0[..], &self.check()].concat();
        format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }

    fn check(&self) -> [u8; CHECK] {
        let digest = crypto::hash(&[b"code", &self.0]);
        std::array::from_fn(|index| digest[index])
    }

    fn id(&self) -> Id {
        let digest = crypto::hash(&[b"handover", &self.0]);
        std::array::from_fn(|index| digest[index])
    }
}

/// What somebody who wants to receive keeps until they did.
pub(crate) struct Offer {
    private: LockedKey,
    pub(crate) code: Code,
}

impl Offer {
    pub(crate) fn new(random: &dyn Random) -> Offer {
        let (private, public) = crypto::x25519_pair(random);
        Offer {
            private,
            code: Code(public),
        }
    }

    /// Reads the head of the first piece; what is behind it is the blob.
    pub(crate) fn open<'p>(&self, piece: &'p [u8]) -> Result<(Stream, &'p [u8])> {
        let (head, blob) = piece.split_at_checked(HEAD).ok_or(changed())?;
        let (version, rest) = head.split_at(1);
        let (id, one_time) = rest.split_at(16);
        if version != [VERSION] {
            return Err(Error::invalid(
                "content",
                "the hand-over has a version that this program does not know",
            ));
        }
        if id != self.code.id() {
            return Err(
                Error::invalid("content", "the hand-over is sealed for another code")
                    .with_hint("a code is good for one hand-over, in the session that made it"),
            );
        }
        let one_time: [u8; 32] = one_time.try_into().map_err(|_| changed())?;
        let shared = crypto::x25519(&self.private, &one_time).map_err(|_| changed())?;
        Ok((Stream::new(&shared, &self.code, &one_time), blob))
    }
}

/// What is inside a piece.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    pub(crate) keys: Vec<KeyRow>,
    /// With the last: how many keys there are in all, and the checksum over them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<End>,
}

/// What the sender says of the whole.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    pub(crate) keys: u64,
    pub(crate) checksum: String,
}

/// One hand-over, from either end.
pub(crate) struct Stream {
    id: Id,
    key: LockedKey,
    checksum_key: LockedKey,
    pieces: u64,
    marks: Vec<Mark>,
}

impl Stream {
    /// Begins one for a code. `head` is what stands before the first blob.
    pub(crate) fn begin(random: &dyn Random, code: &Code, head: &mut Vec<u8>) -> Result<Stream> {
        let (private, public) = crypto::x25519_pair(random);
        let shared = crypto::x25519(&private, &code.0)
            .map_err(|_| Error::invalid("code", "it is not a code to receive with"))?;
        head.push(VERSION);
        head.extend_from_slice(&code.id());
        head.extend_from_slice(&public);
        Ok(Stream::new(&shared, code, &public))
    }

    fn new(shared: &LockedKey, code: &Code, one_time: &[u8; 32]) -> Stream {
        let id = code.id();
        let parts: [&[u8]; 5] = [shared.expose(), &[VERSION], &id, one_time, &code.0];
        let mut key = Zeroizing::new(crypto::hmac_sha256(b"akm/v1/handover", &parts));
        let key = LockedKey::from_bytes(&mut key);
        Stream {
            id,
            checksum_key: crypto::derive(&key, "handover-checksum"),
            key: crypto::derive(&key, "handover-pieces"),
            pieces: 0,
            marks: Vec::new(),
        }
    }

    /// How many keys came by.
    pub(crate) fn keys(&self) -> u64 {
        self.marks.len() as u64
    }

    /// Counts a key in; its mark.
    pub(crate) fn count(&mut self, row: &KeyRow) -> Result<()> {
        let mark = self.mark(row)?;
        self.marks.push(mark);
        Ok(())
    }

    /// What a key of this content adds to the checksum.
    pub(crate) fn mark(&self, row: &KeyRow) -> Result<Mark> {
        let bytes = Zeroizing::new(encode(row)?);
        Ok(crypto::tag(&self.checksum_key, &[&bytes]))
    }

    /// The marks so far, in the order in which the keys came.
    pub(crate) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The checksum over these marks.
    pub(crate) fn checksum(&self, marks: &[Mark]) -> String {
        HEXLOWER.encode(&crypto::tag(&self.checksum_key, &[marks.as_flattened()]))
    }

    /// Seals the next piece.
    pub(crate) fn seal(&mut self, random: &dyn Random, page: &Page) -> Result<Vec<u8>> {
        let plain = Zeroizing::new(encode(page)?);
        let ad = self.next(page.end.is_some());
        crypto::seal_padded(random, &self.key, &ad, &plain, BUCKET)
    }

    /// Opens the next piece, which is the last or is not.
    pub(crate) fn unseal(&mut self, blob: &[u8]) -> Result<Page> {
        let (more, last) = (self.ad(MORE), self.ad(LAST));
        let plain = crypto::open_padded(&self.key, &more, blob)
            .map(|plain| (plain, false))
            .or_else(|_| crypto::open_padded(&self.key, &last, blob).map(|plain| (plain, true)));
        let (plain, is_last) = plain.map_err(|_| changed())?;
        let page: Page = serde_json::from_slice(&plain).map_err(|_| {
            Error::invalid("content", "a key of the hand-over does not have its form")
        })?;
        if page.end.is_some() != is_last {
            return Err(changed());
        }
        self.pieces += 1;
        Ok(page)
    }

    fn next(&mut self, is_last: bool) -> Ad {
        let ad = self.ad(if is_last { LAST } else { MORE });
        self.pieces += 1;
        ad
    }

    fn ad(&self, which: u64) -> Ad {
        Ad::new(Field::Handover)
            .record(&self.id)
            .version(which)
            .seq(self.pieces)
    }
}

/// Not what was sent, or not the piece that comes next.
fn changed() -> Error {
    Error::invalid(
        "content",
        "a piece of the hand-over was changed, is missing or is not the next one",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;

    fn random() -> std::sync::Arc<dyn Random> {
        Host::real().random
    }

    fn row(name: &str) -> KeyRow {
        let json = serde_json::json!({"name": name, "secret": "sk-canary-0123456789"});
        serde_json::from_value(json).unwrap()
    }

    fn pieces(code: &Code, names: &[&str]) -> Vec<Vec<u8>> {
        let mut first = Vec::new();
        let mut stream = Stream::begin(&*random(), code, &mut first).unwrap();
        let mut pieces = Vec::new();
        for name in names {
            stream.count(&row(name)).unwrap();
            let page = Page {
                keys: vec![row(name)],
                end: None,
            };
            let mut piece = std::mem::take(&mut first);
            piece.extend(stream.seal(&*random(), &page).unwrap());
            pieces.push(piece);
        }
        let end = Some(End {
            keys: stream.keys(),
            checksum: stream.checksum(stream.marks()),
        });
        let page = Page { end, keys: vec![] };
        pieces.push(stream.seal(&*random(), &page).unwrap());
        pieces
    }

    /// Takes pieces in as they come; the names, and whether the end came.
    fn taken(offer: &Offer, pieces: &[Vec<u8>]) -> Result<(Vec<String>, bool)> {
        let (mut stream, first) = offer.open(&pieces[0])?;
        let (mut names, mut ended) = (Vec::new(), false);
        for (index, piece) in pieces.iter().enumerate() {
            let page = stream.unseal(if index == 0 { first } else { piece })?;
            for row in &page.keys {
                stream.count(row)?;
                names.push(row.name.clone());
            }
            if let Some(end) = page.end {
                ended = true;
                assert_eq!(end.checksum, stream.checksum(stream.marks()));
                assert_eq!(end.keys, stream.keys());
            }
        }
        Ok((names, ended))
    }

    #[test]
    fn what_is_sealed_for_a_code_opens_with_its_offer_alone() {
        let (offer, other) = (Offer::new(&*random()), Offer::new(&*random()));
        let code = Code::parse(&format!(" {}\n", offer.code.text())).unwrap();
        let sent = pieces(&code, &["openai", "groq"]);
        let got = taken(&offer, &sent).unwrap();
        assert_eq!(got, (vec!["openai".to_owned(), "groq".to_owned()], true));
        assert!(taken(&other, &sent).is_err());
        // Nor does it with the other's id written over it.
        let mut forged = sent.clone();
        forged[0][1..17].copy_from_slice(&other.code.id());
        assert!(taken(&other, &forged).is_err());
        let all = sent.concat();
        assert!(!all.windows(6).any(|bytes| bytes == b"canary"));
    }

    #[test]
    fn every_byte_and_the_order_of_pieces_count() {
        let offer = Offer::new(&*random());
        let sent = pieces(&offer.code, &["openai", "groq"]);
        assert!(taken(&offer, &sent).is_ok(), "control");
        for piece in 0..sent.len() {
            for byte in (0..sent[piece].len()).step_by(61) {
                let mut bent = sent.clone();
                bent[piece][byte] ^= 1;
                assert!(taken(&offer, &bent).is_err(), "byte {byte} of {piece}");
            }
            let mut cut = sent.clone();
            cut[piece].pop();
            assert!(taken(&offer, &cut).is_err());
        }
        let [first, second, last] = [0, 1, 2].map(|index| sent[index].clone());
        for wrong in [
            vec![first.clone(), last.clone()],
            vec![first.clone(), last.clone(), second.clone()],
            vec![first.clone(), second.clone(), second.clone()],
            vec![second.clone()],
        ] {
            assert!(taken(&offer, &wrong).is_err());
        }
        // Cut off at a piece's end, it has no end.
        assert!(!taken(&offer, &[first, second]).unwrap().1);
        // Another hand-over for the same code is another one: their pieces do not mix.
        let again = pieces(&offer.code, &["openai", "groq"]);
        let mixed = vec![sent[0].clone(), again[1].clone(), sent[2].clone()];
        assert!(taken(&offer, &mixed).is_err());
    }

    #[test]
    fn a_code_with_a_typing_error_is_noticed_and_not_repeated() {
        let code = Offer::new(&*random()).code.text();
        for at in PREFIX.len()..code.len() {
            let mut bent = code.clone().into_bytes();
            bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
            let bent = String::from_utf8(bent).unwrap();
            // The last character has two bits that say nothing, which are refused as well.
            let error = Code::parse(&bent).err().unwrap();
            assert!(!format!("{error:?}").contains(&bent[PREFIX.len()..]));
        }
        for bad in ["", "x", PREFIX, &code[..code.len() - 1], &code[1..]] {
            assert!(Code::parse(bad).is_err(), "{bad}");
        }
        // A point of small order is a code by its form and none by its meaning.
        let small = Code([0; 32]);
        assert!(Stream::begin(&*random(), &small, &mut Vec::new()).is_err());
    }
}
