//! `akm man`: manual pages, written from the table of commands.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use akm_core::Error;
use clap::{Args, CommandFactory};
use clap_mangen::Man;

use super::output::{self, Result};
use crate::flags;

/// Writes manual pages.
#[derive(Args)]
#[command(after_help = "Example:\n  akm man | man -l -\n  akm man ~/.local/share/man/man1")]
pub(crate) struct Pages {
    /// Write one page per command into this directory, made if need be; without it the first page goes to stdout
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub(crate) fn man(args: &Pages) -> Result<()> {
    let mut command = super::Cli::command();
    // So that pages below know their full name.
    command.build();
    let Some(directory) = &args.directory else {
        return output::raw(&page(&command)?);
    };
    std::fs::create_dir_all(directory)
        .map_err(|error| Error::from_io(&error).with_field("directory"))?;
    write_all(&command, directory)?;
    write(&flags::Arguments::command(), directory)
}

fn write_all(command: &clap::Command, directory: &Path) -> Result<()> {
    write(command, directory)?;
    command
        .get_subcommands()
        .filter(|child| !child.is_hide_set())
        .try_for_each(|child| write_all(child, directory))
}

fn write(command: &clap::Command, directory: &Path) -> Result<()> {
    let man = Man::new(command.clone());
    let path = directory.join(man.get_filename());
    let text = page(command)?;
    File::create(path)
        .and_then(|mut file| file.write_all(&text))
        .map_err(|error| Error::from_io(&error).with_field("directory").into())
}

fn page(command: &clap::Command) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(command.clone())
        .manual("akm")
        .render(&mut text)
        .map_err(|error| Error::from_io(&error))?;
    Ok(text)
}
