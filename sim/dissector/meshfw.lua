-- Wireshark dissector for the frames of this protocol (docs/SPEC.md, version 1) in Bluetooth LE advertising data.
--
--   wireshark -X lua_script:sim/dissector/meshfw.lua trace.pcap
--   tshark -X lua_script:sim/dissector/meshfw.lua -r trace.pcap -Y 'meshfw.type == 6'
--
-- It claims manufacturer specific data of company 0xFFFF; another company id is set in the protocol's preferences
-- (-o meshfw.company:0x1234). Tags and signatures are shown, not verified: that takes the network's keys.

local mesh = Proto("meshfw", "Firmware mesh")

local TYPES = {
    [1] = "SUMMARY", [2] = "MANIFEST", [3] = "DIRECTIVE", [4] = "KEYCHANGE", [5] = "REQUEST", [6] = "CHUNK",
    [7] = "REPORT", [8] = "REPORT_ACK", [9] = "RECEIPT", [10] = "reserved (network rekey)",
    [11] = "reserved (root snapshot)",
}
local PHASES = {
    [0] = "idle", [1] = "fetching", [2] = "staged", [3] = "trial", [4] = "confirmed", [5] = "rolled back",
    [6] = "deferred", [7] = "refused",
}
local REASONS = {
    [0] = "none", [1] = "self-test failed", [2] = "watchdog", [3] = "crashed", [4] = "mute (no echo)",
    [5] = "bad image", [6] = "corrupt home", [7] = "no room", [8] = "battery", [9] = "breaker", [10] = "stale",
    [11] = "precondition", [12] = "expired", [13] = "storage fault", [14] = "key chain frozen", [15] = "other",
}
local KINDS = { [0] = "full", [1] = "delta" }
local ACTIONS = { [0] = "stage", [1] = "open", [2] = "hold", [3] = "revert" }
local OPS = { [1] = "install", [2] = "revoke" }
local ROLES = { [1] = "root", [2] = "publisher", [3] = "release" }

local HEADER, TAG, BODY_MAX = 17, 8, 200

-- Every field by its name behind "meshfw.".
local fields = {}
local list = {}
local function field(kind, name, title, ...)
    local made = ProtoField[kind]("meshfw." .. name, title, ...)
    fields[name] = made
    list[#list + 1] = made
end

field("uint8", "version", "Version", base.DEC, nil, 0xF0)
field("uint8", "type", "Type", base.DEC, TYPES, 0x0F)
field("uint8", "key", "Key id", base.DEC)
field("uint16", "network", "Network", base.DEC)
field("uint32", "source", "Source", base.DEC)
field("uint24", "boot", "Boot counter", base.DEC)
field("uint24", "seq", "Sequence", base.DEC)
field("uint64", "counter", "Counter", base.DEC)
field("uint16", "round", "Round", base.DEC)
field("uint8", "hop", "Hops to a gateway", base.DEC)
field("bytes", "tag", "Tag")

field("uint32", "nonce", "Nonce", base.HEX)
field("uint8", "summary.flags", "Flags", base.HEX)
field("bool", "summary.trial", "Trial, wants an echo", 8, nil, 0x01)
field("bool", "summary.gateway", "Gateway", 8, nil, 0x02)
field("bool", "summary.stale", "Stale", 8, nil, 0x04)
field("bool", "summary.frozen", "Key chain frozen", 8, nil, 0x08)
field("bool", "summary.relays", "Relays for other models", 8, nil, 0x10)
field("bool", "summary.asks", "Asks for a way", 8, nil, 0x20)
field("uint8", "summary.heads", "Heads", base.DEC, nil, 0x0F)
field("uint8", "summary.manifests", "Manifests", base.DEC, nil, 0xF0)
field("uint16", "summary.failed", "Release last rolled back from (low 16 bits)", base.DEC)
field("uint32", "summary.home", "Handle it runs", base.HEX)
field("uint32", "summary.target", "Handle it fetches", base.HEX)
field("uint24", "summary.held", "Positions held", base.DEC)
field("uint16", "summary.keyset", "Keyset number", base.DEC)
field("bytes", "summary.keyset_head", "Keyset head")
field("bytes", "head", "Head")
field("uint32", "head.release", "Release", base.DEC)
field("uint16", "head.generation", "Generation", base.DEC)
field("uint32", "head.floor", "Floor", base.DEC)
field("uint32", "head.sequence", "Sequence", base.DEC)
field("bytes", "head.digest", "Digest of the directive")

field("uint32", "handle", "Handle", base.HEX)
field("uint24", "position", "Position", base.DEC)
field("uint32", "addressee", "Addressee", base.DEC)
field("uint24", "request.base", "Base", base.DEC)
field("bytes", "request.bitmap", "Wanted")
field("uint32", "request.count", "Positions wanted", base.DEC)
field("bytes", "chunk.data", "Data")

field("uint32", "report.parent", "Parent", base.DEC)
field("uint8", "report.count", "Reports", base.DEC)
field("bytes", "report", "Report")
field("uint32", "report.node", "Node", base.DEC)
field("uint16", "report.serial", "Serial", base.DEC)
field("uint16", "report.running", "Running release (low 16 bits)", base.DEC)
field("uint16", "report.target", "Target release (low 16 bits)", base.DEC)
field("uint8", "report.phase", "Phase", base.DEC, PHASES, 0x0F)
field("uint8", "report.reason", "Reason", base.DEC, REASONS, 0xF0)
field("bytes", "report.mac", "MAC")
field("uint32", "ack.echo", "Echo", base.HEX)
field("bytes", "ack", "Acknowledged")

field("uint8", "format", "Format", base.DEC)
field("bytes", "reserved", "Reserved")
field("bytes", "signature", "Signature")
field("uint8", "manifest.kind", "Kind", base.DEC, KINDS)
field("uint8", "manifest.key", "Publisher key id", base.DEC)
field("uint32", "manifest.product", "Product", base.HEX)
field("uint16", "manifest.model", "Model", base.DEC)
field("uint16", "generation", "Generation of the key", base.DEC)
field("uint32", "manifest.revisions", "Hardware revisions", base.HEX)
field("uint32", "manifest.version", "Version", base.HEX)
field("uint32", "manifest.release", "Release sequence", base.DEC)
field("uint32", "manifest.counter", "Security counter", base.DEC)
field("uint32", "manifest.image_size", "Image size", base.DEC)
field("uint32", "manifest.payload_size", "Payload size", base.DEC)
field("uint32", "manifest.earliest", "Earliest version that may be running", base.HEX)
field("uint32", "manifest.expiry", "Expiry epoch", base.DEC)
field("uint8", "manifest.battery", "Least battery, percent", base.DEC)
field("bytes", "manifest.salt", "Salt of the chunk tree")
field("bytes", "manifest.image_root", "Image root")
field("bytes", "manifest.payload_root", "Payload root")
field("bytes", "manifest.base", "Base image")
field("bytes", "manifest.sha256", "SHA-256 of the image")

field("uint8", "directive.action", "Action", base.DEC, ACTIONS)
field("uint8", "directive.key", "Release key id", base.DEC)
field("uint8", "directive.count", "Manifests", base.DEC)
field("uint32", "directive.release", "Release", base.DEC)
field("uint32", "directive.sequence", "Sequence", base.DEC)
field("uint32", "directive.floor", "Floor", base.DEC)
field("bytes", "directive.previous", "Directive before")
field("uint16", "directive.labels", "Labels", base.HEX)
field("uint16", "directive.share", "Share of 10,000", base.DEC)
field("uint16", "directive.spread", "Spread window, s", base.DEC)
field("uint16", "directive.confirm", "Confirm window, s", base.DEC)
field("uint32", "directive.epoch", "Epoch", base.DEC)
field("uint32", "directive.salt", "Release salt", base.HEX)
field("uint8", "directive.flags", "Flags", base.HEX)
field("bool", "directive.overrides", "Overrides the breaker", 8, nil, 0x01)
field("bool", "directive.roll_call", "Roll call", 8, nil, 0x02)
field("bytes", "directive.manifest", "Manifest id")

field("uint8", "keychange.format", "Format", base.DEC, nil, 0x0F)
field("uint8", "keychange.op", "Operation", base.DEC, OPS, 0xF0)
field("uint8", "keychange.role", "Role", base.DEC, ROLES, 0x0F)
field("uint8", "keychange.id", "Key id", base.DEC, nil, 0xF0)
field("uint8", "keychange.first", "First signer", base.DEC, nil, 0x0F)
field("uint8", "keychange.second", "Second signer", base.DEC, nil, 0xF0)
field("uint16", "keychange.number", "Number", base.DEC)
field("bytes", "keychange.previous", "Key change before")
field("bytes", "keychange.public", "Public key")

field("uint8", "receipt.key", "Release key id", base.DEC)
field("uint16", "receipt.round", "Round", base.DEC)
field("uint16", "receipt.base", "Base enrolment index", base.DEC)
field("uint16", "receipt.count", "Members", base.DEC)
field("bytes", "receipt.serials", "Serials (low 4 bits each)")

mesh.fields = list

local malformed = ProtoExpert.new("meshfw.malformed", "Malformed", expert.group.MALFORMED, expert.severity.ERROR)
local reserved = ProtoExpert.new("meshfw.unexpected", "Reserved bits are set", expert.group.PROTOCOL,
    expert.severity.WARN)
mesh.experts = { malformed, reserved }
mesh.prefs.company = Pref.uint("Company id", 0xFFFF, "Bluetooth company id of the manufacturer specific data")

-- Adds a little-endian field; returns its range and item.
local function put(tree, name, range)
    local item = tree:add_le(fields[name], range)
    return range, item
end

local function put_reserved(tree, range)
    local item = tree:add(fields["reserved"], range)
    for i = 0, range:len() - 1 do
        if range(i, 1):uint() ~= 0 then
            item:add_proto_expert_info(reserved, "Reserved bytes must be zero")
            return
        end
    end
end

local function fail(tree, why)
    tree:add_proto_expert_info(malformed, why)
    return "[" .. why .. "]"
end

-- a.b.c of a version number.
local function version_text(value)
    return string.format("%d.%d.%d", bit.rshift(value, 24), bit.band(bit.rshift(value, 16), 0xFF),
        bit.band(value, 0xFFFF))
end

local function put_version(tree, name, range)
    local _, item = put(tree, name, range)
    item:append_text(" (" .. version_text(range:le_uint()) .. ")")
end

-- Body dissectors: take the body and its tree, return what the packet list says.
local body = {}

local FLAG_NAMES = { "summary.trial", "summary.gateway", "summary.stale", "summary.frozen", "summary.relays",
    "summary.asks" }
local FLAG_WORDS = { "trial", "gateway", "stale", "frozen", "relays", "asks" }

body[1] = function(b, tree)
    if b:len() < 25 then return fail(tree, "shorter than a SUMMARY") end
    local heads, manifests = bit.band(b(5, 1):uint(), 0x0F), bit.rshift(b(5, 1):uint(), 4)
    if heads > 4 or manifests > 8 or b:len() ~= 25 + 18 * heads + 4 * manifests then
        return fail(tree, "length does not fit the counts")
    end
    put(tree, "nonce", b(0, 4))
    local flags = tree:add(fields["summary.flags"], b(4, 1))
    local words = {}
    for i, name in ipairs(FLAG_NAMES) do
        flags:add(fields[name], b(4, 1))
        if bit.band(b(4, 1):uint(), bit.lshift(1, i - 1)) ~= 0 then words[#words + 1] = FLAG_WORDS[i] end
    end
    tree:add(fields["summary.heads"], b(5, 1))
    tree:add(fields["summary.manifests"], b(5, 1))
    put(tree, "summary.failed", b(6, 2))
    put(tree, "summary.home", b(8, 4))
    put(tree, "summary.target", b(12, 4))
    put(tree, "summary.held", b(16, 3))
    put(tree, "summary.keyset", b(19, 2))
    tree:add(fields["summary.keyset_head"], b(21, 4))
    local at = 25
    for i = 1, heads do
        local head = tree:add(fields["head"], b(at, 18))
        head:set_text(string.format("Head: release %u, generation %u, sequence %u", b(at, 4):le_uint(),
            b(at + 4, 2):le_uint(), b(at + 10, 4):le_uint()))
        put(head, "head.release", b(at, 4))
        put(head, "head.generation", b(at + 4, 2))
        put(head, "head.floor", b(at + 6, 4))
        put(head, "head.sequence", b(at + 10, 4))
        head:add(fields["head.digest"], b(at + 14, 4))
        at = at + 18
    end
    for i = 1, manifests do
        put(tree, "handle", b(at, 4))
        at = at + 4
    end
    local text = string.format("%u heads, %u manifests", heads, manifests)
    if b(12, 4):le_uint() ~= 0 then
        text = text .. string.format(", holds %u of %08x", b(16, 3):le_uint(), b(12, 4):le_uint())
    end
    if #words > 0 then text = text .. ", " .. table.concat(words, " ") end
    return text
end

body[2] = function(b, tree)
    if b:len() ~= 200 then return fail(tree, "a MANIFEST has 200 bytes") end
    put(tree, "format", b(0, 1))
    put(tree, "manifest.kind", b(1, 1))
    put(tree, "manifest.key", b(2, 1))
    put_reserved(tree, b(3, 1))
    put(tree, "manifest.product", b(4, 4))
    put(tree, "manifest.model", b(8, 2))
    put(tree, "generation", b(10, 2))
    put(tree, "manifest.revisions", b(12, 4))
    put_version(tree, "manifest.version", b(16, 4))
    put(tree, "manifest.release", b(20, 4))
    put(tree, "manifest.counter", b(24, 4))
    put(tree, "manifest.image_size", b(28, 4))
    put(tree, "manifest.payload_size", b(32, 4))
    put_version(tree, "manifest.earliest", b(36, 4))
    put(tree, "manifest.expiry", b(40, 4))
    put(tree, "manifest.battery", b(44, 1))
    put_reserved(tree, b(45, 3))
    tree:add(fields["manifest.salt"], b(48, 8))
    tree:add(fields["manifest.image_root"], b(56, 12))
    tree:add(fields["manifest.payload_root"], b(68, 12))
    tree:add(fields["manifest.base"], b(80, 8))
    tree:add(fields["manifest.sha256"], b(88, 32))
    put_reserved(tree, b(120, 16))
    tree:add(fields["signature"], b(136, 64))
    return string.format("release %u, version %s, model %u, %s, %u bytes", b(20, 4):le_uint(),
        version_text(b(16, 4):le_uint()), b(8, 2):le_uint(), KINDS[b(1, 1):uint()] or "unknown kind",
        b(32, 4):le_uint())
end

body[3] = function(b, tree)
    if b:len() < 120 then return fail(tree, "shorter than a DIRECTIVE") end
    local n = b(3, 1):uint()
    if n < 1 or n > 8 or b:len() ~= 112 + 8 * n then return fail(tree, "length does not fit the count") end
    put(tree, "format", b(0, 1))
    put(tree, "directive.action", b(1, 1))
    put(tree, "directive.key", b(2, 1))
    put(tree, "directive.count", b(3, 1))
    put(tree, "network", b(4, 2))
    put(tree, "generation", b(6, 2))
    put(tree, "directive.release", b(8, 4))
    put(tree, "directive.sequence", b(12, 4))
    put(tree, "directive.floor", b(16, 4))
    tree:add(fields["directive.previous"], b(20, 8))
    put(tree, "directive.labels", b(28, 2))
    put(tree, "directive.share", b(30, 2))
    put(tree, "directive.spread", b(32, 2))
    put(tree, "directive.confirm", b(34, 2))
    put(tree, "directive.epoch", b(36, 4))
    put(tree, "directive.salt", b(40, 4))
    local flags = tree:add(fields["directive.flags"], b(44, 1))
    flags:add(fields["directive.overrides"], b(44, 1))
    flags:add(fields["directive.roll_call"], b(44, 1))
    put_reserved(tree, b(45, 3))
    for i = 0, n - 1 do
        local item = tree:add(fields["directive.manifest"], b(48 + 8 * i, 8))
        if b(1, 1):uint() == 3 then item:append_text(i < n / 2 and " (from)" or " (to)") end
    end
    tree:add(fields["signature"], b(48 + 8 * n, 64))
    return string.format("%s release %u, sequence %u, labels 0x%04x, share %u", ACTIONS[b(1, 1):uint()] or
        "unknown action", b(8, 4):le_uint(), b(12, 4):le_uint(), b(28, 2):le_uint(), b(30, 2):le_uint())
end

body[4] = function(b, tree)
    if b:len() ~= 200 then return fail(tree, "a KEYCHANGE has 200 bytes") end
    tree:add(fields["keychange.format"], b(0, 1))
    tree:add(fields["keychange.op"], b(0, 1))
    tree:add(fields["keychange.role"], b(1, 1))
    tree:add(fields["keychange.id"], b(1, 1))
    tree:add(fields["keychange.first"], b(2, 1))
    tree:add(fields["keychange.second"], b(2, 1))
    put_reserved(tree, b(3, 1))
    put(tree, "keychange.number", b(4, 2))
    put(tree, "generation", b(6, 2))
    tree:add(fields["keychange.previous"], b(8, 32))
    tree:add(fields["keychange.public"], b(40, 32))
    tree:add(fields["signature"], b(72, 64))
    tree:add(fields["signature"], b(136, 64))
    return string.format("number %u, %s %s key %u", b(4, 2):le_uint(), OPS[bit.rshift(b(0, 1):uint(), 4)] or "?",
        ROLES[bit.band(b(1, 1):uint(), 0x0F)] or "?", bit.rshift(b(1, 1):uint(), 4))
end

local function addressee_text(node)
    return node == 0 and "whoever can" or string.format("node %u", node)
end

body[5] = function(b, tree)
    if b:len() < 16 or b:len() > 15 + 128 then return fail(tree, "a REQUEST has 16 to 143 bytes") end
    put(tree, "addressee", b(0, 4))
    put(tree, "nonce", b(4, 4))
    put(tree, "handle", b(8, 4))
    put(tree, "request.base", b(12, 3))
    local map = b(15)
    tree:add(fields["request.bitmap"], map)
    local count = 0
    for i = 0, map:len() - 1 do
        local byte = map(i, 1):uint()
        while byte ~= 0 do
            count = count + bit.band(byte, 1)
            byte = bit.rshift(byte, 1)
        end
    end
    tree:add(fields["request.count"], map, count):set_generated()
    if b(12, 3):le_uint() % 8 ~= 0 then fail(tree, "base is not a multiple of 8") end
    return string.format("%u positions of %08x from %u on, of %s", count, b(8, 4):le_uint(), b(12, 3):le_uint(),
        addressee_text(b(0, 4):le_uint()))
end

body[6] = function(b, tree)
    if b:len() < 8 or b:len() > 7 + 192 then return fail(tree, "a CHUNK has 8 to 199 bytes") end
    put(tree, "handle", b(0, 4))
    put(tree, "position", b(4, 3))
    tree:add(fields["chunk.data"], b(7))
    return string.format("position %u of %08x, %u bytes", b(4, 3):le_uint(), b(0, 4):le_uint(), b:len() - 7)
end

body[7] = function(b, tree)
    if b:len() < 10 then return fail(tree, "shorter than a REPORT") end
    local n = b(8, 1):uint()
    if n < 1 or n > 10 or b:len() ~= 10 + 19 * n then return fail(tree, "length does not fit the count") end
    put(tree, "report.parent", b(0, 4))
    put(tree, "nonce", b(4, 4))
    put(tree, "report.count", b(8, 1))
    put_reserved(tree, b(9, 1))
    local text = ""
    for i = 0, n - 1 do
        local e = b(10 + 19 * i, 19)
        local phase, reason = bit.band(e(10, 1):uint(), 0x0F), bit.rshift(e(10, 1):uint(), 4)
        local says = string.format("node %u: %s %u", e(0, 4):le_uint(), PHASES[phase] or "unknown phase",
            e(8, 2):le_uint())
        if reason ~= 0 then says = says .. ", " .. REASONS[reason] end
        local item = tree:add(fields["report"], e)
        item:set_text("Report: " .. says)
        put(item, "report.node", e(0, 4))
        put(item, "report.serial", e(4, 2))
        put(item, "report.running", e(6, 2))
        put(item, "report.target", e(8, 2))
        item:add(fields["report.phase"], e(10, 1))
        item:add(fields["report.reason"], e(10, 1))
        item:add(fields["report.mac"], e(11, 8))
        if i == 0 then text = says end
    end
    if n > 1 then text = string.format("%s and %u more", text, n - 1) end
    return text .. string.format(", to node %u", b(0, 4):le_uint())
end

body[8] = function(b, tree)
    if b:len() < 8 or (b:len() - 8) % 6 ~= 0 or b:len() > 8 + 31 * 6 then
        return fail(tree, "a REPORT_ACK has 8 bytes and 6 for each of up to 31 entries")
    end
    put(tree, "addressee", b(0, 4))
    put(tree, "ack.echo", b(4, 4))
    local n = (b:len() - 8) / 6
    for i = 0, n - 1 do
        local e = b(8 + 6 * i, 6)
        local item = tree:add(fields["ack"], e)
        item:set_text(string.format("Acknowledged: node %u, serial %u", e(0, 4):le_uint(), e(4, 2):le_uint()))
        put(item, "report.node", e(0, 4))
        put(item, "report.serial", e(4, 2))
    end
    if n == 0 then return string.format("echo to node %u", b(0, 4):le_uint()) end
    return string.format("%u reports of node %u", n, b(0, 4):le_uint())
end

body[9] = function(b, tree)
    if b:len() < 77 then return fail(tree, "shorter than a RECEIPT") end
    local count = b(10, 2):le_uint()
    local bytes = math.floor((count + 1) / 2)
    if count < 1 or count > 248 or b:len() ~= 76 + bytes then return fail(tree, "length does not fit the count") end
    put(tree, "format", b(0, 1))
    put(tree, "receipt.key", b(1, 1))
    put(tree, "network", b(2, 2))
    put(tree, "generation", b(4, 2))
    put(tree, "receipt.round", b(6, 2))
    put(tree, "receipt.base", b(8, 2))
    put(tree, "receipt.count", b(10, 2))
    tree:add(fields["receipt.serials"], b(12, bytes))
    tree:add(fields["signature"], b(12 + bytes, 64))
    return string.format("round %u, members %u to %u", b(6, 2):le_uint(), b(8, 2):le_uint(),
        b(8, 2):le_uint() + count - 1)
end

function mesh.dissector(buffer, pinfo, root)
    local size = buffer:len()
    if size < HEADER + TAG or size > HEADER + BODY_MAX + TAG then return 0 end
    if bit.rshift(buffer(0, 1):uint(), 4) ~= 1 then return 0 end
    local kind = bit.band(buffer(0, 1):uint(), 0x0F)
    local name = TYPES[kind] or string.format("type %u", kind)
    local source = buffer(4, 4):le_uint()
    local tree = root:add(mesh, buffer(0, size))
    tree:add(fields["version"], buffer(0, 1))
    tree:add(fields["type"], buffer(0, 1))
    put(tree, "key", buffer(1, 1))
    put(tree, "network", buffer(2, 2))
    put(tree, "source", buffer(4, 4))
    put(tree, "boot", buffer(8, 3))
    put(tree, "seq", buffer(11, 3))
    tree:add(fields["counter"], buffer(8, 6),
        UInt64(buffer(8, 3):le_uint()):lshift(24) + UInt64(buffer(11, 3):le_uint())):set_generated()
    put(tree, "round", buffer(14, 2))
    local hop, hop_item = buffer(16, 1):uint(), nil
    _, hop_item = put(tree, "hop", buffer(16, 1))
    if hop == 0 then hop_item:append_text(" (a gateway)") end
    if hop == 255 then hop_item:append_text(" (none known)") end
    local text = ""
    local n = size - HEADER - TAG
    if body[kind] ~= nil then
        local below = n > 0 and tree:add(mesh, buffer(HEADER, n), name) or tree
        text = n > 0 and body[kind](buffer(HEADER, n):tvb(), below) or fail(tree, "no body")
    end
    tree:add(fields["tag"], buffer(HEADER + n, TAG))
    tree:append_text(string.format(", %s from node %u", name, source))
    pinfo.cols.protocol = "MESHFW"
    pinfo.cols.info = string.format("%u %s %s", source, name, text)
    return size
end

local companies = DissectorTable.get("btcommon.eir_ad.manufacturer_company_id")
local claimed = nil
local function claim()
    if claimed ~= nil then companies:remove(claimed, mesh) end
    claimed = mesh.prefs.company
    companies:add(claimed, mesh)
end
claim()
function mesh.prefs_changed()
    if mesh.prefs.company ~= claimed then claim() end
end
