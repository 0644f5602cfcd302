use std::net::Ipv4Addr;
use std::time::Duration;

use futures::FutureExt as _;
use proptest::prelude::*;
use tokio::time::advance;

use super::*;

/// The addresses of an API server, and of others.
const API_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn other(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 244, 0, number))
}

fn room(size: usize) -> Arc<Room> {
    Room::new(Port::Reviews, size, Arc::default())
}

/// Enters at once, or not at all.
fn enter(room: &Arc<Room>, address: IpAddr) -> Option<Arc<Guest>> {
    room.enter(address).now_or_never()
}

async fn fill(room: &Arc<Room>, address: IpAddr, count: usize, known: bool) -> Vec<Arc<Guest>> {
    let mut guests = Vec::new();
    for _ in 0..count {
        let guest = enter(room, address).expect("a place");
        if known {
            drop(guest.brings_a_review());
        }
        guests.push(guest);
        advance(Duration::from_millis(1)).await;
    }
    guests
}

fn is_dismissed(guest: &Guest) -> bool {
    guest.presence.dismissed.is_cancelled()
}

fn dismissed(guests: &[Arc<Guest>]) -> usize {
    guests.iter().filter(|guest| is_dismissed(guest)).count()
}

#[tokio::test(start_paused = true)]
async fn whoever_holds_every_place_is_who_makes_way_for_an_api_server() {
    for known in [false, true] {
        let room = room(64);
        let kept = fill(&room, API_SERVER, 8, true).await;
        let mut held = fill(&room, other(1), 56, known).await;
        let mut new = Vec::new();
        for _ in 0..20 {
            // New ones of theirs come between any two of an API server.
            held.extend(fill(&room, other(1), 5, known).await);
            new.push(enter(&room, API_SERVER).expect("a place"));
        }
        assert_eq!((dismissed(&kept), dismissed(&new)), (0, 0), "known: {known}");
        assert_eq!(dismissed(&held), 120);
    }
}

#[tokio::test(start_paused = true)]
async fn behind_one_address_a_flood_of_new_connections_does_not_end_those_that_are_used() {
    let room = room(64);
    let kept = fill(&room, API_SERVER, 20, true).await;
    let mut flood = fill(&room, API_SERVER, 100, false).await;
    let new = enter(&room, API_SERVER).unwrap();
    flood.extend(fill(&room, API_SERVER, 31, false).await);
    assert_eq!(dismissed(&kept), 0);
    assert!(!is_dismissed(&new), "it had the time in which half of the room comes and goes to bring its review");
    drop(new.brings_a_review());
    fill(&room, API_SERVER, 100, false).await;
    assert!(!is_dismissed(&new));
}

#[tokio::test(start_paused = true)]
async fn behind_one_address_connections_that_once_brought_a_review_do_not_end_new_ones() {
    let room = room(64);
    let held = fill(&room, API_SERVER, 64, true).await;
    let new = fill(&room, API_SERVER, 32, false).await;
    assert_eq!((dismissed(&new), dismissed(&held)), (0, 32));
    assert!(held.iter().take(32).all(|guest| is_dismissed(guest)), "those go that waited for longest");
}

#[tokio::test(start_paused = true)]
async fn a_request_keeps_a_connection_only_if_it_has_brought_a_review() {
    for (known, goes) in [(false, true), (true, false)] {
        let room = room(2);
        let guests = fill(&room, API_SERVER, 2, known).await;
        guests[0].begins_a_request();
        enter(&room, API_SERVER).unwrap();
        assert_eq!(is_dismissed(&guests[0]), goes, "known: {known}");
        assert_eq!(dismissed(&guests), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_who_is_owed_an_answer_makes_way_and_whoever_comes_waits_until_one_is_given() {
    let room = room(2);
    let guests = [enter(&room, API_SERVER).unwrap(), enter(&room, other(1)).unwrap()];
    let mut owed: Vec<Owed> = guests.iter().map(Guest::brings_a_review).collect();
    let mut coming = Box::pin(room.enter(other(2)));
    assert!(coming.as_mut().now_or_never().is_none());
    drop(owed.pop());
    let come = coming.now_or_never().expect("the answer is given");
    assert_eq!(guests.each_ref().map(|guest| is_dismissed(guest)), [false, true]);
    // Its place is taken, so its end frees none.
    drop(guests.into_iter().nth(1));
    assert_eq!(room.guests().present.len(), 2);
    drop(come);
    assert_eq!(room.guests().present.len(), 1);
}

#[tokio::test]
async fn whoever_waits_in_vain_for_a_place_gets_one_that_becomes_free() {
    let room = room(1);
    let guest = enter(&room, API_SERVER).unwrap();
    let owed = guest.brings_a_review();
    let coming = tokio::spawn({
        let room = Arc::clone(&room);
        async move { room.enter(API_SERVER).await }
    });
    tokio::task::yield_now().await;
    drop(guest);
    assert!(!coming.is_finished());
    drop(owed);
    drop(coming.await.unwrap());
    assert!(room.guests().addresses.is_empty() && room.guests().present.is_empty());
}

#[derive(Clone, Debug)]
enum Event {
    Enter(u8),
    Leave(usize),
    Request(usize),
    Review(usize),
    Answer(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_u8..4).prop_map(Event::Enter),
        1 => any::<usize>().prop_map(Event::Leave),
        1 => any::<usize>().prop_map(Event::Request),
        2 => any::<usize>().prop_map(Event::Review),
        1 => any::<usize>().prop_map(Event::Answer),
    ]
}

/// A place in a list of this length.
fn among(index: usize, length: usize) -> Option<usize> {
    index.checked_rem(length)
}

proptest! {
    #[test]
    fn whatever_comes_there_is_room_unless_all_are_owed_an_answer(
        size in 1_usize..12,
        events in prop::collection::vec(event(), 0..120),
    ) {
        let room = room(size);
        let (mut guests, mut owed): (Vec<Arc<Guest>>, Vec<Owed>) = (Vec::new(), Vec::new());
        for event in events {
            match event {
                Event::Enter(address) => {
                    let has_room = guests.len() < size || guests.iter().any(|guest| guest.presence.standing().owed == 0);
                    let come = enter(&room, other(address));
                    prop_assert_eq!(come.is_some(), has_room);
                    guests.extend(come);
                }
                Event::Leave(index) => drop(among(index, guests.len()).map(|index| {
                    let number = guests[index].number;
                    owed.retain(|owed| owed.0.number != number);
                    guests.swap_remove(index)
                })),
                Event::Request(index) => {
                    if let Some(index) = among(index, guests.len()) {
                        guests[index].begins_a_request();
                    }
                }
                Event::Review(index) => owed.extend(among(index, guests.len()).map(|index| guests[index].brings_a_review())),
                Event::Answer(index) => drop(among(index, owed.len()).map(|index| owed.swap_remove(index))),
            }
            prop_assert!(owed.iter().all(|owed| !is_dismissed(&owed.0)), "an answer that is owed is lost");
            guests.retain(|guest| !is_dismissed(guest));
            let known = room.guests();
            prop_assert_eq!(known.present.len(), guests.len());
            prop_assert_eq!(known.addresses.values().sum::<usize>(), guests.len());
            prop_assert!(guests.len() <= size);
        }
    }
}
