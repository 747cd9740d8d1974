//! Ownership and checkpoints as the metadata of a blob, read as leniently and written as strictly as the
//! other SDKs need it (docs/contract.md §9.3).

use eventhubs_checkpoint_store::{Checkpoint, Claim, Error, ErrorKind, Mark, Result};
use eventhubs_types::{Offset, OwnerId, SequenceNumber};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

const OWNER: &str = "ownerid";
/// Of ours alone: other SDKs ignore what they do not know, and erase it with their next write.
const MARK: &str = "handover";
const OFFSET: &str = "offset";
const SEQUENCE_NUMBER: &str = "sequencenumber";

/// The longest [`OwnerId`], in bytes.
const MAX_OWNER: usize = 256;

/// The metadata of one blob. Keys differ by more than their case: HTTP libraries re-case them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Metadata(Vec<(String, String)>);

impl Metadata {
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        found.map(|(_, value)| value.trim())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether everything in `written` is here too; an empty value may have got lost on the way.
    pub(crate) fn says(&self, written: &Self) -> bool {
        written.iter().all(|(key, value)| self.get(key).unwrap_or_default() == value)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

/// The owner that a record names; `None` if it was released, or never names one.
///
/// Other SDKs let users choose ids that [`OwnerId`] refuses. They are only ever compared and counted, so an
/// encoded form serves; dropping the record would make its partition look free.
pub(crate) fn owner(metadata: &Metadata) -> Option<OwnerId> {
    let id = metadata.get(OWNER).filter(|id| !id.is_empty())?;
    Some(OwnerId::new(id).unwrap_or_else(|_| encoded_owner(id)))
}

fn encoded_owner(id: &str) -> OwnerId {
    let mut encoded = utf8_percent_encode(id, NON_ALPHANUMERIC).to_string();
    encoded.truncate(MAX_OWNER);
    OwnerId::new(encoded).expect("letters, digits and % are allowed, and the length was cut")
}

/// The mark of a record; `None` where it has none.
pub(crate) fn mark(metadata: &Metadata) -> Option<Mark> {
    metadata.get(MARK).filter(|mark| !mark.is_empty()).map(Mark::new)
}

/// The metadata of an ownership record. A release is an empty value: without the key, listing fails in Python
/// and JavaScript.
///
/// # Errors
/// When the owner id or the mark does not fit into a header.
pub(crate) fn from_claim(claim: &Claim) -> Result<Metadata> {
    let id = claim.owner.as_ref().map_or("", OwnerId::as_str);
    check_header_value(id, "owner id: the blob store takes printable ASCII only")?;
    let mark = claim.mark.as_ref().map(Mark::as_str);
    check_header_value(mark.unwrap_or_default(), "mark: the blob store takes printable ASCII only")?;
    let mark = mark.map(|mark| (MARK, mark));
    Ok([(OWNER, id)].into_iter().chain(mark).collect())
}

/// The position that a checkpoint names. What is missing or unusable is `None`.
pub(crate) fn position(metadata: &Metadata) -> (Option<Offset>, Option<SequenceNumber>) {
    let field = |key| metadata.get(key).filter(|value| !is_placeholder(value));
    let number = field(SEQUENCE_NUMBER).and_then(|number| number.parse().ok());
    (field(OFFSET).map(Offset::new), number.map(SequenceNumber::new))
}

/// What Python and .NET write in place of nothing.
fn is_placeholder(value: &str) -> bool {
    matches!(value, "" | "None" | "no offset")
}

/// The metadata of a checkpoint: always both keys, for a missing one makes other SDKs' listings fail. A
/// missing value is written as `""`, as .NET does.
///
/// # Errors
/// When both are missing, for that would hide where reading shall start, or the offset does not fit into a
/// header.
pub(crate) fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Metadata> {
    if checkpoint.offset.is_none() && checkpoint.sequence_number.is_none() {
        return Err(invalid("checkpoint: it has neither offset nor sequence number"));
    }
    let offset = checkpoint.offset.as_ref().map_or("", Offset::as_str);
    let number = checkpoint.sequence_number.map(|number| number.to_string());
    check_header_value(offset, "offset: the blob store takes printable ASCII only")?;
    Ok(Metadata::from_iter([(OFFSET, offset), (SEQUENCE_NUMBER, &number.unwrap_or_default())]))
}

/// Metadata travels in headers and is signed; outer spaces and other characters break the signature.
fn check_header_value(value: &str, refusal: &'static str) -> Result<()> {
    let fits = value.trim() == value && value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if fits { Ok(()) } else { Err(invalid(refusal)) }
}

fn invalid(context: &'static str) -> Error {
    Error::new(ErrorKind::InvalidArgument, context)
}

#[cfg(test)]
mod tests {
    use eventhubs_checkpoint_store::Expected;
    use eventhubs_types::PartitionId;
    use proptest::prelude::*;

    use super::*;

    fn metadata<const N: usize>(pairs: [(&str, &str); N]) -> Metadata {
        pairs.into_iter().collect()
    }

    fn checkpoint(offset: Option<&str>, number: Option<i64>) -> Checkpoint {
        let number = number.map(SequenceNumber::new);
        Checkpoint::new(PartitionId::new("0").unwrap(), offset.map(Offset::new), number)
    }

    #[test]
    fn a_released_partition_has_no_owner_in_any_of_its_three_forms() {
        for released in [metadata([]), metadata([("ownerid", "")]), metadata([("OwnerId", "  ")])] {
            assert_eq!(owner(&released), None, "{released:?}");
        }
    }

    #[test]
    fn keys_are_found_in_any_case() {
        assert_eq!(owner(&metadata([("Ownerid", "a")])), Some(OwnerId::new("a").unwrap()));
        let (offset, number) = position(&metadata([("Offset", "100"), ("SequenceNumber", "7")]));
        assert_eq!((offset, number), (Some("100".into()), Some(7.into())));
    }

    #[test]
    fn an_owner_id_of_another_sdk_that_ours_may_not_have_still_owns() {
        let foreign = owner(&metadata([("ownerid", "app/instance-1")])).unwrap();
        assert_eq!(foreign.as_str(), "app%2Finstance%2D1");
        assert!(owner(&metadata([("ownerid", &"é".repeat(300))])).is_some());
    }

    fn claim(owner: Option<&str>, mark: Option<&str>) -> Claim {
        let owner = owner.map(|id| OwnerId::new(id).unwrap());
        Claim::new(PartitionId::new("0").unwrap(), owner, Expected::Absent).with_mark(mark.map(Mark::new))
    }

    #[test]
    fn a_release_is_written_as_an_empty_value() {
        assert_eq!(from_claim(&claim(None, None)).unwrap(), metadata([("ownerid", "")]));
        let owned = claim(Some("Instance 1"), None);
        assert_eq!(from_claim(&owned).unwrap(), metadata([("ownerid", "Instance 1")]));
    }

    #[test]
    fn a_mark_has_a_key_of_its_own_beside_that_of_all_sdks() {
        let written = from_claim(&claim(Some("a"), Some("1 ask b"))).unwrap();
        assert_eq!(written, metadata([("ownerid", "a"), ("handover", "1 ask b")]));
        assert_eq!(mark(&written), Some(Mark::new("1 ask b")));
        assert_eq!(mark(&metadata([("ownerid", "a"), ("Handover", " ")])), None);
        let error = from_claim(&claim(Some("a"), Some("é"))).unwrap_err();
        assert!(error.to_string().contains("mark"), "{error}");
    }

    #[test]
    fn an_owner_id_that_no_header_can_carry_is_refused() {
        let error = from_claim(&claim(Some("owner-é"), None)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("owner id"), "{error}");
    }

    #[test]
    fn what_other_sdks_write_for_a_missing_field_is_absent() {
        // Python writes `None`; .NET writes "" and, later, `no offset`; Java and Go leave the key out
        // (docs/contract.md §9.3).
        for offset in ["", " ", "None", "no offset"] {
            let (offset, number) = position(&metadata([("offset", offset), ("sequencenumber", "7")]));
            assert_eq!((offset, number), (None, Some(7.into())));
        }
        for number in ["", "None", "abc", "1.5", "99999999999999999999"] {
            let (offset, number) = position(&metadata([("offset", "1:22:333"), ("sequencenumber", number)]));
            assert_eq!((offset, number), (Some("1:22:333".into()), None));
        }
        assert_eq!(position(&metadata([("clientidentifier", "x")])), (None, None));
    }

    #[test]
    fn a_checkpoint_is_written_with_both_keys() {
        let whole = from_checkpoint(&checkpoint(Some("100"), Some(-1))).unwrap();
        assert_eq!(whole, metadata([("offset", "100"), ("sequencenumber", "-1")]));
        let no_offset = from_checkpoint(&checkpoint(None, Some(7))).unwrap();
        assert_eq!(no_offset, metadata([("offset", ""), ("sequencenumber", "7")]));
        let no_number = from_checkpoint(&checkpoint(Some("100"), None)).unwrap();
        assert_eq!(no_number, metadata([("offset", "100"), ("sequencenumber", "")]));
    }

    #[test]
    fn a_checkpoint_whose_position_no_header_can_carry_is_refused() {
        for (offset, number, field) in [(None, None, "neither offset nor"), (Some("é"), Some(1), "offset:")]
        {
            let error = from_checkpoint(&checkpoint(offset, number)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(field), "{error}");
        }
    }

    #[test]
    fn a_record_says_what_was_written_even_if_it_says_more() {
        let written = metadata([("ownerid", "a")]);
        assert!(metadata([("OwnerId", "a"), ("other", "x")]).says(&written));
        assert!(!metadata([("ownerid", "b")]).says(&written));
        assert!(!metadata([]).says(&written));
        assert!(metadata([]).says(&metadata([("ownerid", "")])));
    }

    proptest! {
        #[test]
        fn any_owner_id_but_an_empty_one_owns(id in "\\PC{1,300}") {
            prop_assert_eq!(owner(&metadata([("ownerid", &id)])).is_some(), !id.trim().is_empty());
        }

        #[test]
        fn any_position_is_read_as_far_as_it_goes(offset in any::<String>(), number in any::<String>()) {
            let (_, read) = position(&metadata([("offset", &offset), ("sequencenumber", &number)]));
            prop_assert_eq!(read.map(SequenceNumber::value), number.trim().parse().ok());
        }

        #[test]
        fn what_is_written_is_read(offset in "[!-~]{1,40}", number in any::<i64>()) {
            prop_assume!(!is_placeholder(&offset));
            let written = from_checkpoint(&checkpoint(Some(&offset), Some(number))).unwrap();
            prop_assert_eq!(position(&written), (Some(offset.into()), Some(number.into())));
        }
    }
}
