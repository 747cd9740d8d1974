use std::str::FromStr;

use eventhubs_simulator::Kind;

use crate::Result;

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) help: bool,
    pub(crate) list: bool,
    pub(crate) json: bool,
    pub(crate) scenario: Option<String>,
    pub(crate) seed: u64,
    pub(crate) seeds: u64,
    pub(crate) instances: Option<usize>,
    pub(crate) partitions: Option<usize>,
    pub(crate) fleet: Option<Vec<Kind>>,
    pub(crate) threads: usize,
    pub(crate) report: Option<String>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            help: false,
            list: false,
            json: false,
            scenario: None,
            seed: 1,
            seeds: 1,
            instances: None,
            partitions: None,
            fleet: None,
            threads: 2,
            report: None,
        }
    }
}

impl Arguments {
    pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut words = words.into_iter();
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "-h" | "--help" => arguments.help = true,
                "--list" => arguments.list = true,
                "--json" => arguments.json = true,
                "--scenario" => arguments.scenario = Some(value()?),
                "--seed" => arguments.seed = number(&word, &value()?)?,
                "--seeds" => arguments.seeds = number(&word, &value()?)?,
                "--instances" => arguments.instances = Some(number(&word, &value()?)?),
                "--partitions" => arguments.partitions = Some(number(&word, &value()?)?),
                "--fleet" => arguments.fleet = Some(fleet(&value()?)?),
                "--threads" => arguments.threads = number(&word, &value()?)?,
                "--report" => arguments.report = Some(value()?),
                _ => return Err(format!("unknown argument `{word}`; --help names all").into()),
            }
        }
        Ok(arguments)
    }

    pub(crate) fn last_seed(&self) -> u64 {
        self.seed.saturating_add(self.seeds.saturating_sub(1))
    }
}

fn number<N: FromStr>(word: &str, text: &str) -> Result<N> {
    let number = text.parse();
    number.map_err(|_| format!("{word} needs a number, not `{text}`").into())
}

fn fleet(text: &str) -> Result<Vec<Kind>> {
    let kind = |name| Kind::from_name(name).ok_or_else(|| format!("no balancer is called `{name}`").into());
    text.split(',').map(kind).collect()
}
