-- claim: the generation of what this server remembers. Behind generation.lua.
--
-- KEYS: the generation
-- ARGV: run id of the server, its former master's replication id, a proposed generation, "1" if the server loses nothing
-- Returns: the generation that is valid
return (claim(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], true))
