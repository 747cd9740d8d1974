//! The suite of all stores, on one server and on a cluster.

mod one_server {
    use eventhubs_checkpoint_store_redis::RedisCheckpointStore;
    use eventhubs_checkpoint_store_testkit::{Capabilities, Place, conformance_tests};

    use crate::scene;

    async fn open(place: Place) -> RedisCheckpointStore {
        let server = scene::shared_server().await;
        let store = RedisCheckpointStore::builder(server.url()).key_prefix(place.name());
        store.connect().await.expect("the server is there")
    }

    conformance_tests!(open, Capabilities::all().without_fence().racing_rounds(200));
}

mod cluster {
    use eventhubs_checkpoint_store_redis::RedisCheckpointStore;
    use eventhubs_checkpoint_store_testkit::{Capabilities, Place, conformance_tests};

    use crate::scene;

    async fn open(place: Place) -> RedisCheckpointStore {
        let urls = scene::shared_cluster().await.urls();
        let store = RedisCheckpointStore::cluster_builder(urls).key_prefix(place.name());
        store.connect().await.expect("the cluster is there")
    }

    conformance_tests!(open, Capabilities::all().without_fence());
}
