//! Which partitions an instance may own: all, a list, or those of its ordinal.

use std::collections::BTreeSet;

use eventhubs_types::PartitionId;

/// Which partitions an instance may own.
///
/// All instances of a consumer group should have the same kind of assignment. Where it is fixed, an instance
/// never takes a partition that another one holds: it waits until that releases it, or its lease runs out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Assignment {
    /// Any: the instances share all partitions out among themselves.
    #[default]
    Balanced,
    /// Exactly these, as far as the event hub has them.
    Static(BTreeSet<PartitionId>),
    /// Every `instances`-th partition, counted from `ordinal`: for instances that know their number, as the
    /// pods of a stateful set do. Partitions are counted in the order of their numbers.
    ByOrdinal {
        /// The number of this instance, from 0.
        ordinal: u32,
        /// How many instances there are.
        instances: u32,
    },
}

impl Assignment {
    /// Whether the partitions of this instance do not depend on what others do.
    pub fn is_fixed(&self) -> bool {
        *self != Self::Balanced
    }

    /// Returns those of the event hub's partitions that the instance may own.
    pub fn of(&self, partitions: &[PartitionId]) -> Vec<PartitionId> {
        match self {
            Self::Balanced => partitions.to_vec(),
            Self::Static(ids) => partitions.iter().filter(|id| ids.contains(*id)).cloned().collect(),
            Self::ByOrdinal { ordinal, instances } => {
                let mut partitions = partitions.to_vec();
                // Ids are numbers without leading zeros: the shorter is the smaller.
                partitions.sort_by(|one, other| {
                    let key = |id: &PartitionId| id.as_str().len();
                    key(one).cmp(&key(other)).then_with(|| one.cmp(other))
                });
                let (first, step) = (*ordinal as usize, *instances as usize);
                partitions.into_iter().skip(first).step_by(step.max(1)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> Vec<PartitionId> {
        ["0", "10", "11", "2", "1", "3"].map(|id| id.parse().unwrap()).into()
    }

    fn of(assignment: &Assignment) -> Vec<String> {
        assignment.of(&hub()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_static_assignment_leaves_out_what_the_hub_does_not_have() {
        let ids = ["2", "7"].map(|id| id.parse().unwrap());
        assert_eq!(of(&Assignment::Static(ids.into())), ["2"]);
    }

    #[test]
    fn ordinals_share_out_all_partitions_by_their_numbers() {
        let share = |ordinal| of(&Assignment::ByOrdinal { ordinal, instances: 4 });
        assert_eq!(
            [share(0), share(1), share(2), share(3)],
            [vec!["0", "10"], vec!["1", "11"], vec!["2"], vec!["3"]]
        );
    }
}
