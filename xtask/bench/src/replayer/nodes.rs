//! What `$cbs` and `$management` answer (contract §3.3 and §4.2).

use crate::amqp::code;
use crate::amqp::decode::{Raw, split};
use crate::amqp::encode::{Fields, described};

/// What a link is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Cbs,
    Management,
    Partition,
}

impl Node {
    /// Addresses are paths or whole URLs (contract §5.1).
    pub(super) fn of(address: &str) -> Self {
        match address.rsplit('/').next() {
            Some("$cbs") => Self::Cbs,
            Some("$management") => Self::Management,
            _ => Self::Partition,
        }
    }

    /// The answer to a message, correlated with it.
    pub(super) fn answer(self, request: &[u8], partitions: u32) -> Vec<u8> {
        let request = Request::parse(request);
        let body = match (self, request.partition) {
            (Self::Management, None) => event_hub(request.name, partitions),
            (Self::Management, Some(partition)) => self::partition(request.name, partition),
            (Self::Cbs | Self::Partition, _) => Fields::new().nulls(1).bytes(),
        };
        let (status, description) = match self {
            Self::Cbs => (202, "Accepted"),
            Self::Management | Self::Partition => (200, "OK"),
        };
        let properties = Fields::new().nulls(5).raw(request.message_id).nulls(7);
        let application =
            Fields::new().string("status-code").int(status).string("status-description").string(description);
        [
            described(code::PROPERTIES, &properties.list()),
            described(code::APPLICATION_PROPERTIES, &application.map()),
            described(code::VALUE, &body),
        ]
        .concat()
    }
}

struct Request<'a> {
    message_id: &'a [u8],
    name: &'a str,
    partition: Option<&'a str>,
}

impl<'a> Request<'a> {
    fn parse(mut message: &'a [u8]) -> Self {
        let mut request = Self { message_id: &[0x40], name: "", partition: None };
        while let Some(section) = split(&mut message) {
            match section.described() {
                Some((0x73, properties)) => {
                    request.message_id = properties.items().first().map_or(&[0x40], |id| id.0);
                }
                Some((0x74, properties)) => request.read(&properties.items()),
                _ => {}
            }
        }
        request
    }

    fn read(&mut self, properties: &[Raw<'a>]) {
        for pair in properties.chunks_exact(2) {
            match pair[0].text() {
                Some("name") => self.name = pair[1].text().unwrap_or_default(),
                Some("partition") => self.partition = pair[1].text(),
                _ => {}
            }
        }
    }
}

fn event_hub(name: &str, partitions: u32) -> Vec<u8> {
    let ids: Vec<String> = (0..partitions).map(|id| id.to_string()).collect();
    Fields::new()
        .string("name")
        .string(name)
        .string("type")
        .string("com.microsoft:eventhub")
        .string("created_at")
        .timestamp(1_767_225_600_000)
        .string("partition_count")
        .int(i32::try_from(partitions).unwrap_or(i32::MAX))
        .string("partition_ids")
        .raw(&Fields::strings(ids.iter().map(String::as_str)))
        .string("georeplication_factor")
        .int(1)
        .map()
}

fn partition(name: &str, partition: &str) -> Vec<u8> {
    Fields::new()
        .string("name")
        .string(name)
        .string("type")
        .string("com.microsoft:partition")
        .string("partition")
        .string(partition)
        .string("begin_sequence_number")
        .long(0)
        .string("begin_sequence_number_epoch")
        .int(0)
        .string("last_enqueued_sequence_number")
        .long(1 << 40)
        .string("last_enqueued_sequence_number_epoch")
        .int(0)
        .string("last_enqueued_offset")
        .string("2099511627776")
        .string("last_enqueued_time_utc")
        .timestamp(1_767_225_600_000)
        .string("is_partition_empty")
        .boolean(false)
        .map()
}
