//! A random history of calls on two handles, one after the other, against a model of what the contract says.

use std::collections::BTreeMap;
use std::env;

use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointOutcome, Claim, ClaimOutcome, DeleteOutcome, Expected, FenceToken, Mark, Version,
};
use eventhubs_types::{Offset, OwnerId, SequenceNumber};

use crate::place;
use crate::random::Random;
use crate::scene::{Scene, claim_of, partition};

/// Replays the history of this seed, which the text of a failure names.
const SEED: &str = "EVENTHUBS_TESTKIT_SEED";

const STEPS: usize = 300;
const IDS: [&str; 3] = ["0", "1", "2"];
const GROUPS: [&str; 2] = ["one", "two"];

/// Every outcome and every listing of a random history is what the model says. Each run draws another
/// history.
pub async fn a_random_history_is_as_in_the_model(scene: Scene) {
    // Another history each time, since a fixed one finds nothing more after its first success.
    let seed = env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(place::unique);
    let mut random = Random::new(seed);
    let scopes = GROUPS.map(|group| {
        scene.with_scope(|scope| scope.consumer_group = group.parse().expect("a valid consumer group"))
    });
    let mut models = [Model::default(), Model::default()];
    for number in 0..STEPS {
        let at = format!("step {number} of the history; {SEED}={seed} replays it");
        let group = usize::try_from(random.below(2)).unwrap_or(0);
        let scene = if random.happens(500) { scopes[group].clone() } else { scopes[group].on_other_handle() };
        let mut step = Step { scene: &scene, model: &mut models[group], random: &mut random, at: &at };
        step.take().await;
    }
}

/// What is expected to be there, with the versions that the store gave.
#[derive(Debug, Default)]
struct Model {
    records: BTreeMap<&'static str, Record>,
    checkpoints: BTreeMap<&'static str, Checkpoint>,
    tokens: BTreeMap<&'static str, FenceToken>,
    /// Versions of ownership records and of checkpoints, also of those that are gone.
    given: BTreeMap<(Kind, &'static str), Vec<Version>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Ownership,
    Checkpoint,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    owner: Option<OwnerId>,
    mark: Option<Mark>,
    version: Version,
}

struct Step<'s> {
    scene: &'s Scene,
    model: &'s mut Model,
    random: &'s mut Random,
    at: &'s str,
}

impl Step<'_> {
    async fn take(&mut self) {
        match self.random.below(12) {
            0..=3 => self.claim().await,
            4 => self.claim_all().await,
            5..=7 => self.write().await,
            8 => self.fence().await,
            9 if self.scene.capabilities.has_deletion => self.delete_ownership().await,
            10 if self.scene.capabilities.has_deletion => self.delete_checkpoint().await,
            _ => {}
        }
        self.compare().await;
    }

    fn id(&mut self) -> &'static str {
        self.random.pick(&IDS)
    }

    fn current(&self, kind: Kind, id: &str) -> Option<Version> {
        match kind {
            Kind::Ownership => self.model.records.get(id).map(|record| record.version.clone()),
            Kind::Checkpoint => self.model.checkpoints.get(id).and_then(|record| record.version.clone()),
        }
    }

    /// The current version or one of those that are gone; `None` before the first one.
    fn version(&mut self, kind: Kind, id: &'static str) -> Option<Version> {
        let current = self.current(kind, id).filter(|_| self.random.happens(600));
        let given = self.model.given.get(&(kind, id)).filter(|given| !given.is_empty());
        current.or_else(|| given.map(|given| self.random.pick(given)))
    }

    fn expected(&mut self, kind: Kind, id: &'static str) -> (Expected, bool) {
        let version = if self.random.happens(250) { None } else { self.version(kind, id) };
        let is_met = version == self.current(kind, id);
        (version.map_or(Expected::Absent, Expected::Version), is_met)
    }

    /// Writes down a version that must be new to the record.
    fn given(&mut self, kind: Kind, id: &'static str, version: &Version) {
        let given = self.model.given.entry((kind, id)).or_default();
        assert!(!given.contains(version), "{}: {version:?} of {kind:?} {id} came back", self.at);
        given.push(version.clone());
    }

    fn random_claim(&mut self, id: &'static str) -> (Claim, bool) {
        let (expected, is_met) = self.expected(Kind::Ownership, id);
        let owner = self.random.pick(&[Some("a"), Some("b"), Some("A"), None]);
        let mark = self.random.pick(&[None, None, Some("1 ask")]).map(Mark::new);
        (claim_of(id, owner, expected).with_mark(mark), is_met)
    }

    async fn claim(&mut self) {
        let id = self.id();
        let (claim, is_met) = self.random_claim(id);
        let outcome = self.scene.store.claim_ownership(&self.scene.scope, &claim).await;
        self.judge(id, &claim, is_met, outcome);
    }

    async fn claim_all(&mut self) {
        let claims: Vec<_> = IDS.iter().map(|id| (*id, self.random_claim(id))).collect();
        let wanted: Vec<_> = claims.iter().map(|(_, (claim, _))| claim.clone()).collect();
        let outcomes = self.scene.claim_in_chunks(&wanted).await;
        for ((id, (claim, is_met)), outcome) in claims.iter().zip(outcomes) {
            self.judge(id, claim, *is_met, outcome);
        }
    }

    fn judge(&mut self, id: &'static str, claim: &Claim, is_met: bool, outcome: ClaimOutcome) {
        match outcome {
            ClaimOutcome::Won(won) if is_met => {
                assert_eq!(won.partition, claim.partition, "{}", self.at);
                let record = Record { owner: won.owner, mark: won.mark, version: won.version };
                assert_eq!((&record.owner, &record.mark), (&claim.owner, &claim.mark), "{}", self.at);
                self.given(Kind::Ownership, id, &record.version);
                self.model.records.insert(id, record);
            }
            ClaimOutcome::Lost if !is_met => {}
            other => panic!("{}: {claim:?} had the outcome {other:?}", self.at),
        }
    }

    async fn write(&mut self) {
        let id = self.id();
        let (expected, is_met) = self.expected(Kind::Checkpoint, id);
        let number = i64::try_from(self.random.below(1_000)).unwrap_or(0);
        let offset = self.random.happens(700).then(|| Offset::new(format!("3:{number}:7")));
        let checkpoint = Checkpoint::new(partition(id), offset, Some(SequenceNumber::new(number)));
        match self.scene.try_write(&checkpoint, &expected).await {
            CheckpointOutcome::Written(version) if is_met => {
                self.given(Kind::Checkpoint, id, &version);
                self.model.checkpoints.insert(id, checkpoint.with_version(version));
            }
            CheckpointOutcome::Conflict if !is_met => {}
            other => panic!("{}: {checkpoint:?} over {expected:?} had the outcome {other:?}", self.at),
        }
    }

    /// A fence may give the checkpoint a new version, and may create a record without a position.
    async fn fence(&mut self) {
        let id = self.id();
        let fenced = self.scene.store.fence(&self.scene.scope, &partition(id)).await;
        let fenced = fenced.unwrap_or_else(|error| panic!("{}: {error}", self.at));
        let position = |checkpoint: Option<&Checkpoint>| {
            checkpoint.map_or((None, None), |read| (read.offset.clone(), read.sequence_number))
        };
        let before = self.model.checkpoints.get(id);
        assert_eq!(position(fenced.checkpoint.as_ref()), position(before), "{}: a fence of {id}", self.at);
        let last = fenced.token.and_then(|token| self.model.tokens.insert(id, token));
        assert!(last.is_none() || last < fenced.token, "{}: a token is larger than the last", self.at);
        let Some(checkpoint) = fenced.checkpoint else { return };
        let version = checkpoint.version.clone().expect("a checkpoint that was read has a version");
        if self.current(Kind::Checkpoint, id).as_ref() != Some(&version) {
            self.given(Kind::Checkpoint, id, &version);
        }
        self.model.checkpoints.insert(id, checkpoint);
    }

    async fn delete_ownership(&mut self) {
        let id = self.id();
        let Some(version) = self.version(Kind::Ownership, id) else { return };
        let is_met = self.current(Kind::Ownership, id).as_ref() == Some(&version);
        let outcome = self.scene.store.delete_ownership(&self.scene.scope, &partition(id), &version).await;
        self.judge_deletion(outcome, is_met);
        if is_met {
            self.model.records.remove(id);
        }
    }

    async fn delete_checkpoint(&mut self) {
        let id = self.id();
        let Some(version) = self.version(Kind::Checkpoint, id) else { return };
        let is_met = self.current(Kind::Checkpoint, id).as_ref() == Some(&version);
        let outcome = self.scene.store.delete_checkpoint(&self.scene.scope, &partition(id), &version).await;
        self.judge_deletion(outcome, is_met);
        if is_met {
            self.model.checkpoints.remove(id);
        }
    }

    fn judge_deletion(&self, outcome: eventhubs_checkpoint_store::Result<DeleteOutcome>, is_met: bool) {
        let expected = if is_met { DeleteOutcome::Deleted } else { DeleteOutcome::Conflict };
        let outcome = outcome.unwrap_or_else(|error| panic!("{}: {error}", self.at));
        assert_eq!(outcome, expected, "{}: a deletion", self.at);
    }

    async fn compare(&mut self) {
        let records = self.scene.records_of_one_handle().await;
        // Times are left out: the model has no clock, and `clock.rs` judges them.
        let listed: Vec<_> = records
            .into_iter()
            .map(|listed| {
                let record = Record { owner: listed.owner, mark: listed.mark, version: listed.version };
                (listed.partition, record)
            })
            .collect();
        let expected: Vec<_> =
            self.model.records.iter().map(|(id, record)| (partition(id), record.clone())).collect();
        assert_eq!(listed, expected, "{}: the ownership records", self.at);
        let id = self.id();
        let read = self.scene.store.checkpoint(&self.scene.scope, &partition(id)).await;
        let read = read.unwrap_or_else(|error| panic!("{}: {error}", self.at));
        assert_eq!(read.as_ref(), self.model.checkpoints.get(id), "{}: the checkpoint of {id}", self.at);
    }
}
