//! Start, lock, signals, recovery.

use crate::support::{Server, audience};

#[tokio::test]
async fn what_was_saved_is_there_after_a_clean_stop_and_after_a_kill() {
    let mut server = Server::start().await;
    let id = server.save("audiences", &audience("u", "kept")).await;
    let path = format!("/api/audiences/{id}?user_id=u");
    let before = server.get(&path).await.expect(200);
    let data = server.data.clone();
    server.stop().await;
    let mut again = Server::over(&data, &[]).await;
    assert_eq!(again.get(&path).await.expect(200), before);
    let second = again.save("audiences", &audience("u", "killed")).await;
    again.kill();
    let third = Server::over(&data, &[]).await;
    assert_eq!(third.get(&path).await.expect(200), before);
    let found = third.get(&format!("/api/audiences/{second}?user_id=u")).await.expect(200);
    assert_eq!(found["audience"]["name"], "killed");
    assert_eq!(third.get("/api/audiences?user_id=u").await.expect(200)["count"], 2);
}
