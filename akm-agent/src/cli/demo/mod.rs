//! demo
use super::output::Result;
/// d
#[derive(clap::Args)]
#[command(after_help = "Example:\n  akm demo")]
pub(crate) struct Demo {}
pub(crate) fn demo(_a: &Demo) -> Result<()> {
    Ok(())
}
