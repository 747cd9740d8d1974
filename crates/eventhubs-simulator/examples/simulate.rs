//! try
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let scenario = eventhubs_simulator::catalog()
        .into_iter()
        .find(|s| s.name == a[1])
        .unwrap();
    let scenario = scenario
        .with_size(a[2].parse().unwrap(), a[3].parse().unwrap())
        .unwrap();
    let t = std::time::SystemTime::now();
    println!(
        "{:#?}",
        eventhubs_simulator::simulate(&scenario, a[4].parse().unwrap())
    );
    println!("{:?}", t.elapsed());
}
