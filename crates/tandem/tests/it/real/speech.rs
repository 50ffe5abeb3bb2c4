//! Sentences that the server speaks to a SIP phone are understood by pocketsphinx.

use serde_json::json;

use crate::harness::baresip::Baresip;
use crate::harness::ear::words_understood;
use crate::harness::server::Server;

/// Chosen from at random at each run.
const SENTENCES: [&str; 50] = [
    "welcome to the customer service of our company",
    "please wait while we connect your call",
    "your order will arrive on monday morning",
    "press one for sales or two for support",
    "thank you for calling and have a good day",
    "the office is open from nine to five",
    "all of our agents are busy at the moment",
    "please leave a message after the tone",
    "your account number has six digits",
    "we will call you back in ten minutes",
    "the doctor can see you on friday afternoon",
    "your payment was received last week",
    "please enter your code on the telephone",
    "the meeting starts at three in the afternoon",
    "your car is ready and waiting for you",
    "the train to london leaves in twenty minutes",
    "we are sorry but that number is not known",
    "please say your name and the name of your company",
    "the weather today will be warm and sunny",
    "your room is on the second floor",
    "there are four people waiting before you",
    "the store is closed on sunday",
    "your flight has been moved to gate seven",
    "please hold the line we are looking for your file",
    "the price of the ticket is forty dollars",
    "your password was changed this morning",
    "dinner is served from six to ten in the evening",
    "the package was left with your neighbor",
    "our new address is on the main street",
    "a driver will be with you in five minutes",
    "your call is important to us please stay on the line",
    "the library opens again after the holiday",
    "we have found the letter that you wrote to us",
    "please bring your passport and one photograph",
    "the water will be turned off for two hours tomorrow",
    "your table for two is ready now",
    "the school called about your daughter",
    "you have three new messages and one old message",
    "the bank will send you a new card next month",
    "please turn left at the end of the road",
    "the first game begins at eight in the evening",
    "your teacher has changed the time of the lesson",
    "the hospital is next to the old church",
    "we could not find anything under that name",
    "the next bus to the city comes in half an hour",
    "your friend is waiting for you at the station",
    "this conversation may be recorded for training",
    "the machine is broken and cannot be used today",
    "please check the number and try again later",
    "the answer to your question is in the second letter",
];
/// The share of words that must be understood.
const UNDERSTOOD: f64 = 0.7;

#[tokio::test(flavor = "multi_thread")]
async fn three_sentences_spoken_to_a_phone_are_understood() {
    let server = Server::start().await;
    let dev = server.org("dev").await;
    let mut phone = Baresip::start(dev.phone("1001").await.answering()).await;
    let first = server.app.kernel.ids.below(SENTENCES.len() as u64) as usize;
    let mut results = Vec::new();
    for index in [first, first + 17, first + 34] {
        let sentence = SENTENCES[index % SENTENCES.len()];
        let flow = json!({
            "cloud_id": "dev", "auth_token": dev.token,
            "flow": [
                {"id": 1, "type": "call", "number": "1001", "next_step": 2},
                {"id": 2, "type": "pause", "seconds": 1, "next_step": 3},
                {"id": 3, "type": "play", "text": sentence, "next_step": 4},
                {"id": 4, "type": "pause", "seconds": 1},
            ],
        });
        dev.client().post("/api/v2/call/flow", &flow).await.expect(201);
        phone.expect("CALL_CLOSED").await;
        let heard = phone.heard();
        let words = heard.words().await;
        results.push((sentence, words_understood(sentence, &words), words));
    }
    let spoken: usize = results.iter().map(|(sentence, ..)| sentence.split(' ').count()).sum();
    let understood: f64 = results.iter().map(|(sentence, share, _)| share * sentence.split(' ').count() as f64).sum();
    assert!(understood / spoken as f64 >= UNDERSTOOD, "{results:#?}");
    server.stop().await;
}
