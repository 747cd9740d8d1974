//! What all masters of a cluster are asked, or the one server.

use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, FromRedisValue as _, RedisResult, Value};

use crate::link::Connection;

/// One server, as a cluster names it; `None` where there is only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Master(Option<(String, u16)>);

/// Sends a command to each master. Returns their replies.
pub(crate) async fn ask_all(connection: Connection, command: &Cmd) -> RedisResult<Vec<(Master, Value)>> {
    match connection {
        Connection::Server(mut connection) => {
            Ok(vec![(Master(None), command.query_async(&mut connection).await?)])
        }
        Connection::Cluster(mut connection) => {
            let routing = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
            let replies = connection.route_command(command.clone(), routing).await?;
            let replies = Vec::<(String, Value)>::from_redis_value(replies)?;
            Ok(replies.into_iter().map(|(address, reply)| (Master(parse(&address)), reply)).collect())
        }
    }
}

/// Sends a command to one master.
pub(crate) async fn ask(connection: Connection, master: &Master, command: &Cmd) -> RedisResult<Value> {
    match (connection, master) {
        (Connection::Cluster(mut connection), Master(Some((host, port)))) => {
            let routing = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
            connection.route_command(command.clone(), RoutingInfo::SingleNode(routing)).await
        }
        (mut connection, _) => command.query_async(&mut connection).await,
    }
}

fn parse(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}
