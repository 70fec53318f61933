"""The tests of the tests: mistakes put into the engine on purpose, each of which must be found."""
