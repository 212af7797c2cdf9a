-- Shortcodes, expanded in the text before it is parsed, as Quarto does it: what data have escaped
-- with a backslash is none. An unknown one is an error.

local function fail(message, hint)
  io.stderr:write("report: " .. message .. "\nhint: " .. hint .. "\n")
  os.exit(1)
end

local function contents(name, hint)
  local file = io.open(name, "r")
  if not file then
    fail("no file " .. name .. " to include", hint)
  end
  local text = file:read("a")
  file:close()
  return text
end

local function variable(name)
  local value = pandoc.json.decode(contents("_variables.yml", "it holds the variables"))
  for part in name:gmatch("[^.]+") do
    value = type(value) == "table" and value[part] or nil
  end
  if type(value) ~= "string" then
    fail("no variable " .. name, "_variables.yml holds the variables of the page")
  end
  return value
end

local expand

local function include(name)
  return expand(contents(name, "fragments are written before the page is made"))
end

local KNOWN = { include = include, var = variable }

local function shortcode(inside)
  local name, argument = inside:match("^%s*(%S+)%s+(%S+)%s*$")
  if not KNOWN[name] then
    fail("unknown shortcode" .. inside, "known: include FILE, var NAME")
  end
  return KNOWN[name](argument)
end

function expand(text)
  text = text:gsub("{{<(.-)>}}", shortcode)
  local open = text:match("{{<[^\n]*")
  if open then
    fail("a shortcode is not closed: " .. open, "write {{< name argument >}}")
  end
  return text
end

function Reader(sources, options)
  return pandoc.read(expand(tostring(sources)), "markdown", options)
end
