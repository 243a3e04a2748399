"""The engine of many hosts: OVN, which carries packets between them and is told everything in its northbound database."""
