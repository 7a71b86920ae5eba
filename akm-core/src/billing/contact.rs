//! Where the owner of a hosted account is reached: an address for mail, a chat hook, a language.
//!
//! It is read while the account is locked, so it rests under a key of the machine and not of the account: a copy of the
//! vault does not show it, whoever runs the server can. A hook points where its kind's hooks are, and nowhere else: an
//! address that somebody types is otherwise a way to make this machine talk to its own network.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
pub use crate::protocol::{HookKind, Locale};

/// Longest address for mail (RFC 5321 §4.5.3.1.3).
const MAX_EMAIL: usize = 254;
/// Longest address of a hook.
const MAX_HOOK: usize = 512;

/// A chat hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Whose.
    pub kind: HookKind,
    /// Its address, which is what it is protected by.
    pub url: String,
}

/// Where somebody is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// An address for mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// A chat hook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<Hook>,
    /// In which language.
    pub locale: Locale,
}

/// Where each kind's hooks are.
pub fn known_hooks() -> Vec<(HookKind, String)> {
    [
        (HookKind::Feishu, "https://open.feishu.cn/open-apis/bot/"),
        (
            HookKind::Feishu,
            "https://open.larksuite.com/open-apis/bot/",
        ),
        (HookKind::Dingtalk, "https://oapi.dingtalk.com/robot/send?"),
        (
            HookKind::Wecom,
            "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?",
        ),
        (HookKind::Slack, "https://hooks.slack.com/services/"),
    ]
    .map(|(kind, begin)| (kind, begin.to_owned()))
    .into()
}

/// Checks an address for mail: one `@`, plain characters, a name with a dot behind it. Whether anybody reads there is not
/// known.
pub fn check_email(text: &str) -> Result<()> {
    let good = text.len() <= MAX_EMAIL
        && text.split_once('@').is_some_and(|(local, host)| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&b);
            (1..=64).contains(&local.len())
                && local.bytes().all(plain)
                && !local.starts_with('.')
                && !local.ends_with('.')
                && !local.contains("..")
                && host.contains('.')
                && host.split('.').all(|label| {
                    (1..=63).contains(&label.len())
                        && label
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                })
        });
    if good {
        Ok(())
    } else {
        Err(Error::invalid("email", "that is not an address for mail"))
    }
}

/// Checks that a hook is where its kind's hooks are.
pub fn check_hook(hook: &Hook, known: &[(HookKind, String)]) -> Result<()> {
    let plain = |b: u8| b.is_ascii_graphic() && !b"\\\"<>^`{|}#@".contains(&b);
    let good = hook.url.len() <= MAX_HOOK
        && hook.url.bytes().all(plain)
        && known
            .iter()
            .any(|(kind, begin)| *kind == hook.kind && hook.url.starts_with(begin.as_str()));
    if good {
        Ok(())
    } else {
        Err(Error::invalid(
            "hook_url",
            "the address is not that of a hook of this kind",
        ))
    }
}

impl Hook {
    /// Sends a text. `unavailable` and `denied` where it surely was not taken.
    #[cfg(feature = "providers")]
    pub fn send(&self, outbound: &crate::provider::Outbound, text: &str) -> Result<()> {
        let answer = crate::provider::post_json(outbound, &self.url, self.kind.body(text))?;
        if self.kind.took(&answer) {
            return Ok(());
        }
        Err(Error::new(
            crate::error::Kind::Denied,
            "the hook did not take the text",
        ))
    }
}

impl HookKind {
    /// A text in the shape that this kind of hook takes.
    pub fn body(self, text: &str) -> Vec<u8> {
        match self {
            HookKind::Feishu => {
                serde_json::json!({"msg_type": "text", "content": {"text": text}})
            }
            HookKind::Dingtalk | HookKind::Wecom => {
                serde_json::json!({"msgtype": "text", "text": {"content": text}})
            }
            HookKind::Slack => serde_json::json!({ "text": text }),
        }
        .to_string()
        .into_bytes()
    }

    /// Whether the answer to a text says that it was taken: all but Slack say 200 to failures as well.
    pub fn took(self, answer: &[u8]) -> bool {
        let code = |name| {
            serde_json::from_slice::<serde_json::Value>(answer)
                .ok()
                .and_then(|answer| answer.get(name)?.as_i64())
        };
        match self {
            HookKind::Feishu => code("code").or_else(|| code("StatusCode")) == Some(0),
            HookKind::Dingtalk | HookKind::Wecom => code("errcode") == Some(0),
            HookKind::Slack => answer == b"ok",
        }
    }
}
