"""The Faust shell: what connects the engine to Kafka. Importing it opens nothing."""
