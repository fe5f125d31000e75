//! The same over a socket.

use ::kube::Config;
use ::kube::api::{ListParams, WatchParams};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn a_socket_serves_and_its_shutdown_ends_watches() {
    let (server, _) = server().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn({
        let (server, shutdown) = (server.clone(), shutdown.clone());
        async move { server.serve(listener, shutdown).await }
    });
    let config = Config::new(format!("http://{address}").parse().unwrap());
    let client = Client::try_from(config).unwrap();
    assert_eq!(client.apiserver_version().await.unwrap().major, "1");
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let watch = maps.watch(&WatchParams::default(), "0").await.unwrap();
    let map = from(config_map("a", "1"));
    maps.create(&PostParams::default(), &map).await.unwrap();
    assert_eq!(
        maps.list(&ListParams::default()).await.unwrap().items.len(),
        1
    );
    let mut watch = std::pin::pin!(watch);
    assert!(watch.try_next().await.unwrap().is_some());
    shutdown.cancel();
    assert!(watch.try_next().await.unwrap().is_none());
    serving.await.unwrap().unwrap();
}
