//! Documents of a server's administrators: the tiers, and the providers that every account has.
//!
//! Invariants: a document is under a MAC of the machine, over its kind, its id and the vault; one that was edited, or came
//! from another machine, is `corrupt` and counts for nothing until it is put again.

use crate::crypto;
use crate::error::{Error, Result};
use crate::store::{BeforeCommit, DocumentRow, Hosted, Store, Tag};

use super::Service;

impl Service {
    pub(super) fn document(&self, kind: &str, id: &str) -> Result<Option<Vec<u8>>> {
        let row = self.file.document(kind, id)?;
        row.map(|row| self.open_document(row)).transpose()
    }

    /// The documents of a kind, by id.
    pub(super) fn documents(&self, kind: &str, most: u32) -> Result<Vec<Vec<u8>>> {
        self.file
            .documents(kind, most)?
            .into_iter()
            .map(|row| self.open_document(row))
            .collect()
    }

    pub(super) fn put_document(
        &self,
        kind: &str,
        id: &str,
        body: Vec<u8>,
        most: u32,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        let mut row = DocumentRow {
            kind: kind.to_owned(),
            id: id.to_owned(),
            mac: Tag::default(),
            body,
        };
        row.mac = self.document_mac(&row);
        self.file.put_document(&row, most, before_commit)
    }

    fn open_document(&self, row: DocumentRow) -> Result<Vec<u8>> {
        if crypto::equal(&self.document_mac(&row), &row.mac) {
            return Ok(row.body);
        }
        Err(
            Error::corrupt("a document of the server's administrators fails its authentication")
                .with_hint("the vault was edited, or came from another machine; put it again"),
        )
    }

    fn document_mac(&self, row: &DocumentRow) -> Tag {
        crypto::tag(
            &self.billing.key,
            &[
                b"document",
                &self.file.vault_id(),
                row.kind.as_bytes(),
                row.id.as_bytes(),
                &row.body,
            ],
        )
    }
}
