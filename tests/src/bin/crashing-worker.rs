//! A worker that is there to be killed; see [`leadline_tests::crashing`].

#[tokio::main]
async fn main() {
    leadline_tests::crashing::run().await;
}
