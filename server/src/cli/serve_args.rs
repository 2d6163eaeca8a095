//! The flags of `chiplog serve`: one for each setting of the table, and `--config`.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};

use crate::config::table::SETTINGS;
use crate::config::{Config, ConfigError, RawConfig};
use crate::output;

pub const EXAMPLES: &str = "\
Examples:
  chiplog serve
  chiplog serve --data /srv/chiplog --cores 4 --poll spin
  chiplog serve --listen 0.0.0.0:9092 --core-listen 0.0.0.0:9100 --advertise log1.example.org
  CHIPLOG_DATA=/srv/chiplog chiplog serve --config /etc/chiplog.toml

Every setting is also a key of the configuration file and a CHIPLOG_* variable: docs/config.md.
A line that starts with `ready` says that clients are served. SIGTERM and Ctrl-C stop cleanly.";

/// What was given on the command line, as text: believed only when all sources are known.
#[derive(Debug, Clone, Default)]
pub struct ServeArgs {
    file: Option<PathBuf>,
    /// Parallel to [`SETTINGS`].
    flags: Vec<Option<String>>,
    /// A known-wrong behaviour to plant.
    #[cfg(feature = "mutants")]
    mutant: Option<String>,
}

impl ServeArgs {
    /// The mutant planted in the engines, if any.
    #[must_use]
    pub fn engine_mutant(&self) -> engine::Planted {
        #[cfg(feature = "mutants")]
        return self.mutant.as_deref().and_then(engine::Planted::named).unwrap_or_default();
        #[cfg(not(feature = "mutants"))]
        engine::Planted::default()
    }

    /// The mutant planted in the rings, if any.
    #[must_use]
    pub fn ring_mutant(&self) -> ring::mutant::Planted {
        #[cfg(feature = "mutants")]
        return self.mutant.as_deref().and_then(ring::mutant::Planted::named).unwrap_or_default();
        #[cfg(not(feature = "mutants"))]
        ring::mutant::Planted::default()
    }

    /// The settings of file, environment and flags together.
    pub fn resolve(&self) -> Result<Config, ConfigError> {
        let mut raw = RawConfig::default();
        if let Some(file) = &self.file {
            raw.read_file(file)?;
        }
        let variables = std::env::vars_os()
            .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
        for name in raw.read_environment(variables)? {
            output::note(format_args!("{name} is not a setting of chiplog and is ignored"));
        }
        for (setting, flag) in SETTINGS.iter().zip(&self.flags) {
            if let Some(text) = flag {
                raw.take_flag(setting, text.clone());
            }
        }
        Config::resolve(&raw)
    }
}

impl FromArgMatches for ServeArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one("config").cloned();
        #[cfg(feature = "mutants")]
        {
            self.mutant = matches.get_one("mutant").cloned();
        }
        self.flags = SETTINGS.iter().map(|s| matches.get_one(s.key).cloned()).collect();
        Ok(())
    }
}

impl Args for ServeArgs {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .env("CHIPLOG_CONFIG")
            .value_parser(value_parser!(PathBuf))
            .help("A TOML file with settings; environment and flags win over it");
        let command = with_mutants(command.arg(config));
        SETTINGS.iter().fold(command, |command, setting| {
            let default = match setting.default {
                "" => String::new(),
                text => format!(" [default: {text}]"),
            };
            let arg = Arg::new(setting.key)
                .long(setting.flag())
                .value_name(setting.value)
                .help(format!("{}{default}", setting.help));
            // A switch: given without a value it means yes.
            let arg = match setting.key {
                "enable_faults" => arg.num_args(0..=1).default_missing_value("true"),
                _ => arg,
            };
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(feature = "mutants")]
fn with_mutants(command: Command) -> Command {
    let engine = engine::Mutant::ALL.iter().map(|mutant| mutant.name());
    let ring = ring::mutant::Mutant::ALL.iter().map(|mutant| mutant.name());
    let names: Vec<&str> = engine.chain(ring).collect();
    let help = "Plant a known-wrong behaviour, for a test to catch";
    command.arg(Arg::new("mutant").long("mutant").value_name("NAME").value_parser(names).help(help))
}

#[cfg(not(feature = "mutants"))]
fn with_mutants(command: Command) -> Command {
    command
}
